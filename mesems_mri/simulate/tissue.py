"""Signal of the tissues of a simulated head, with and without gadolinium.

- spin echo: ``PD (1 - exp(-TR/T1)) exp(-TE/T2)``
- inversion recovery (FLAIR; MP-RAGE without its read-out train):
  ``PD |1 - 2 exp(-TI/T1) + exp(-TR/T1)| exp(-TE/T2)``
- gadolinium: ``1/T1 -> 1/T1 + r1 C`` and ``1/T2 -> 1/T2 + r2 C`` with r1 = 4.1 and r2 = 5.0 L/(mmol s)
  (Rohrer et al. 2005, Invest Radiol 40:715)

The concentration ``C`` follows dose and delay: plasma clears while leaky tissue still takes up
(`Contrast.concentration`).
"""

from dataclasses import dataclass

import numpy as np

_R1_PER_MM_S, _R2_PER_MM_S = 4.1, 5.0
# Ten minutes after injection is where the concentrations of the tissue table hold. In the first half hour
# plasma falls by half in about 25 minutes; a lesion behind an open barrier fills within about ten.
_TABLE_DELAY_MIN, _PLASMA_DECAY_MIN, _LESION_FILLING_MIN = 10.0, 37.0, 6.5


@dataclass(frozen=True)
class TissueProperties:
    """Properties of a tissue that determine its signal.

    Parameters
    ----------
    t1_ms, t2_ms : tuple of float
        Relaxation times at 1.5 T and at 3 T.
    proton_density : float
        Relative to water.
    gadolinium_mmol_l : float
        Concentration ten minutes after a standard dose.
    leaky : bool
        Fills through an open barrier rather than with plasma: more with a longer delay, not less.
    """

    t1_ms: tuple[float, float]
    t2_ms: tuple[float, float]
    proton_density: float
    gadolinium_mmol_l: float = 0.0
    leaky: bool = False


# White and grey matter: Wansapura et al. 1999 (J Magn Reson Imaging 9:531), Stanisz et al. 2005 (Magn Reson
# Med 54:507); the rest as in BrainWeb (Kwan et al. 1999, IEEE TMI 18:1085), blood and CSF by the same
# sources, but with a short T2 for blood, since it flows.
TISSUES: dict[str, TissueProperties] = {
    "white_matter": TissueProperties((650, 850), (78, 73), 0.70, 0.01),
    "grey_matter": TissueProperties((1080, 1350), (97, 95), 0.81, 0.02),
    "csf": TissueProperties((4000, 4100), (2000, 1900), 1.00),
    "blood": TissueProperties((1450, 1750), (45, 40), 0.72, 1.2),
    "choroid_plexus": TissueProperties((1300, 1550), (140, 125), 0.85, 0.35, leaky=True),
    "dura": TissueProperties((900, 1050), (60, 55), 0.60, 0.30, leaky=True),
    "pituitary": TissueProperties((800, 950), (90, 85), 0.78, 0.60),
    "cortical_bone": TissueProperties((500, 600), (8, 7), 0.10),
    "marrow": TissueProperties((380, 420), (60, 55), 0.55, 0.02),
    "fat": TissueProperties((300, 370), (65, 60), 0.70),
    "muscle": TissueProperties((950, 1300), (45, 38), 0.80, 0.06),
    "vitreous": TissueProperties((3800, 4000), (900, 800), 1.00),
}
"""Tissues of the head; air gives no signal."""


@dataclass(frozen=True)
class ContrastAgent:
    """A contrast agent as given: dose relative to the standard one, and minutes until the scan."""

    dose: float
    delay_min: float

    def concentration(self, tissue: TissueProperties) -> float:
        """Return the concentration (mmol/l) in a tissue at the time of the scan."""
        if tissue.leaky:
            filled = -np.expm1(-self.delay_min / _LESION_FILLING_MIN)
            share = filled / -np.expm1(-_TABLE_DELAY_MIN / _LESION_FILLING_MIN)
        else:
            share = np.exp((_TABLE_DELAY_MIN - self.delay_min) / _PLASMA_DECAY_MIN)
        return float(tissue.gadolinium_mmol_l * self.dose * share)


@dataclass(frozen=True)
class PulseSequence:
    """A pulse sequence; times in milliseconds, no inversion when ``inversion_ms`` is 0."""

    repetition_ms: float
    echo_ms: float
    inversion_ms: float = 0.0
    flip_angle_deg: float = 90.0

    def signal(
        self, tissue: TissueProperties, field_t: float, contrast: ContrastAgent | None = None
    ) -> float:
        """Return the signal of a tissue (relative to fully relaxed water) at a field in tesla."""
        high = field_t > 2
        concentration = 0.0 if contrast is None else contrast.concentration(tissue)
        t1 = 1 / (1 / tissue.t1_ms[high] + _R1_PER_MM_S * concentration / 1000)
        t2 = 1 / (1 / tissue.t2_ms[high] + _R2_PER_MM_S * concentration / 1000)
        recovered = 1 - np.exp(-self.repetition_ms / t1)
        if self.inversion_ms:
            recovered = 1 - 2 * np.exp(-self.inversion_ms / t1) + np.exp(-self.repetition_ms / t1)
        return float(tissue.proton_density * abs(recovered) * np.exp(-self.echo_ms / t2))
