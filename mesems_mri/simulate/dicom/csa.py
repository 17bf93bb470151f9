"""The shadow headers of classic Siemens images (CSA, format SV10), and the protocol text in one of them."""

import struct
from collections.abc import Iterable

_DELIMITER = 77
_LEAST_ITEMS = 6
_SYNGO_TYPES = {"DS": 3, "FD": 4, "IS": 6, "SL": 7, "US": 10, "LO": 19, "SH": 22, "UN": 0, "ST": 23, "UT": 27}
CsaTag = tuple[str, str, tuple[str, ...]]
"""Name, value representation and values."""


def pack(tags: Iterable[CsaTag]) -> bytes:
    """Pack a shadow header.

    Parameters
    ----------
    tags : iterable
        Name, value representation and values of each; a tag without values is written as absent ones are.
    """
    tags = list(tags)
    parts = [b"SV10\4\3\2\1", struct.pack("<II", len(tags), _DELIMITER)]
    for name, vr, values in tags:
        items = max(_LEAST_ITEMS, len(values)) if values else 0
        parts.append(
            struct.pack(
                "<64si4siii",
                name.encode(),
                max(1, len(values)),
                vr.encode(),
                _SYNGO_TYPES[vr],
                items,
                _DELIMITER if values else 205,
            )
        )
        for number in range(items):
            text = values[number].encode("latin-1", "replace") + b"\0" if number < len(values) else b""
            parts.append(struct.pack("<4i", len(text), len(text), _DELIMITER, len(text)))
            parts.append(text + b"\0" * (-len(text) % 4))
    parts.append(b"\0" * 4)
    return b"".join(parts)


def protocol_text(name: str, sequence: str, coil: str, settings: dict[str, object], patient: str) -> str:
    """Return the text of a protocol, as the console prints it into the series header.

    Parameters
    ----------
    name : str
        Of the protocol.
    sequence : str
        Of the program, e.g. ``tfl``.
    coil : str
    settings : dict
        Further lines.
    patient : str
        What the console left in it of the patient.
    """
    lines = {
        "ulVersion": 51130001,
        "tSequenceFileName": f'""%SiemensSeq%\\{sequence}""',
        "tProtocolName": f'""{name}""',
        "sProtConsistencyInfo.tBaselineString": '""N4_VE11C_LATEST_20160120""',
        "sCoilSelectMeas.aRxCoilSelectData[0].asList[0].sCoilElementID.tCoilID": f'""{coil}""',
        **settings,
    }
    body = "\n".join(f"{key}\t = \t{value}" for key, value in lines.items())
    return (
        '<XProtocol> \n{\n  <Name> "PhoenixMetaProtocol" \n  <ID> 1000002 \n  <Userversion> 2.0 \n'
        f'  <ParamMap."">\n  {{\n    <ParamString."tPatientName">  {{ "{patient}"  }}\n'
        '    <ParamLong."Count">  { 1  }\n  }\n}\n'
        "### ASCCONV BEGIN object=MrProtDataImpl@MrProtocolData version=51130001 "
        f"converter=%MEASCONST%/ConverterList/Prot_Converter.txt ###\n{body}\n### ASCCONV END ###"
    )
