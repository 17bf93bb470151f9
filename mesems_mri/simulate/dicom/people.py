"""Invented patients and staff of the simulated sites, with what a hospital writes down of them.

Nobody of these exists. The names are rare, so that none of them is found by chance in something else.
"""

import datetime as dt
import unicodedata
from dataclasses import dataclass

import numpy as np

_BASE_36 = "0123456789ABCDEFGHJKLMNPQRSTUVWXYZ"


@dataclass(frozen=True)
class Country:
    """Names of people, streets and hospitals of a country, and its character set."""

    charset: str
    families: tuple[str, ...]
    doctors: tuple[str, ...]
    women: tuple[str, ...]
    men: tuple[str, ...]
    streets: tuple[str, ...]
    cities: tuple[str, ...]
    hospitals: tuple[str, ...]
    phone: str


COUNTRIES = (
    Country(
        "ISO_IR 100",
        ("Grünwaldner", "Hösslinger", "Trautenberg", "Weißkirchl", "Kerschbäumer", "Pfannenstill"),
        ("Achleitschner", "Oberndorffer", "Zwiefalter", "Mühlpointner"),
        ("Ottilie", "Walburga", "Kunigunde", "Roswitha"),
        ("Eberhard", "Korbinian", "Ignatius", "Wendelin"),
        ("Lindenbühlgasse", "Am Kuckucksberg", "Färberwinkel"),
        ("Obertannfeld", "Bad Rauhenstein", "Sankt Weitgard"),
        ("Klinikum Rauhenstein", "Neurozentrum Tannfeld"),
        "+498999",
    ),
    Country(
        "ISO_IR 100",
        ("Bragadossi", "Quattrocchieri", "Zampirollo", "Fiorentelli", "Sciaccaluga", "Paganuzzo"),
        ("Cavalotto", "Spreafinelli", "Ughettolo", "Malagutini"),
        ("Maddalena", "Serafina", "Eleonora", "Domitilla"),
        ("Gaudenzio", "Ermenegildo", "Fortunato", "Leonzio"),
        ("Via dei Tintori Vecchi", "Vicolo Sant'Eufrasia", "Largo Montebrullo"),
        ("Castelvernino", "Roccaspinola", "Borgo Sanfredo"),
        ("Ospedale San Gaudenzio", "Istituto Neurologico Roccaspinola"),
        "+390999",
    ),
    Country(
        "ISO_IR 192",
        ("Dvořáčkovský", "Křemílkovič", "Šťastnodub", "Vlčekruh", "Řezníčkov", "Žďárohora"),
        ("Holubičkář", "Nezvaloušek", "Ptáčníkov", "Zahradilka"),
        ("Květoslava", "Božidara", "Drahomíra", "Libuška"),
        ("Přemysl", "Vratislav", "Čestmír", "Zbyněk"),
        ("U Staré Cihelny", "Pod Javorinou", "Na Výšince"),
        ("Horní Skalnice", "Vysoký Brodek", "Dolní Mlýnec"),
        ("Fakultní nemocnice Skalnice", "Klinika Vysoký Brodek"),
        "+420999",
    ),
    Country(
        "ISO_IR 101",
        ("Wędrychowicz", "Źródlański", "Trzcińczak", "Gąsieniczny", "Ślęzakowski", "Łopuszyna"),
        ("Bąkiewski", "Niedźwiadek", "Orzechuła", "Żurawłowska"),
        ("Bogumiła", "Świętosława", "Radomiła", "Grażynka"),
        ("Mieczysław", "Bożydar", "Witosław", "Szczęsny"),
        ("Kasztanowa Polana", "Zielony Zaułek", "Młyńska Górka"),
        ("Jeziorany Dolne", "Nowe Brzeście", "Starogrodziec"),
        ("Szpital Kliniczny Jeziorany", "Instytut Starogrodziec"),
        "+48999",
    ),
)


@dataclass(frozen=True)
class Person:
    """A patient.

    Parameters
    ----------
    family, given, maiden : str
        Names; `maiden` is that of the mother.
    sex : str
        ``F`` or ``M``.
    born : datetime.date
    street, city, phone : str
    hospital_id : str
        Under which the hospital files the patient.
    insurance : str
        Another number.
    weight_kg, height_m : float
    """

    family: str
    given: str
    maiden: str
    sex: str
    born: dt.date
    street: str
    city: str
    phone: str
    hospital_id: str
    insurance: str
    weight_kg: float
    height_m: float

    @property
    def dicom_name(self) -> str:
        """The name as a DICOM person name."""
        return f"{self.family}^{self.given}"

    @property
    def spoken(self) -> str:
        """The name as one says it."""
        return f"{self.given} {self.family}"

    @property
    def typed(self) -> str:
        """The family name in the letters of a file name."""
        return plain_letters(self.family).upper()

    def age(self, day: dt.date) -> int:
        """Return the age in years."""
        return day.year - self.born.year - ((day.month, day.day) < (self.born.month, self.born.day))


@dataclass(frozen=True)
class Staff:
    """The people and the place of a site."""

    institution: str
    street: str
    department: str
    referring: str
    performing: str
    reading: str
    operator: str


def plain_letters(text: str) -> str:
    """Write text in ASCII, as file names and old software do."""
    special = {"ß": "ss", "ł": "l", "Ł": "L", "ä": "ae", "ö": "oe", "ü": "ue"}
    text = "".join(special.get(letter, letter) for letter in text)
    return unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()


def make_person(
    country: Country, rng: np.random.Generator, *, number: int, sex: str, age: int, day: dt.date
) -> Person:
    """Invent a patient who is `age` years old on a day.

    Parameters
    ----------
    country : Country
    rng : Generator
    number : int
        Of the patients of the site; no two of the first few have the same name.
    sex : str
    age : int
    day : datetime.date
    """
    given = country.women if sex == "F" else country.men
    born = day - dt.timedelta(days=round(age * 365.25) + int(rng.integers(40, 320)))
    return Person(
        family=country.families[number % len(country.families)],
        given=given[(number + number // len(country.families)) % len(given)],
        maiden=country.families[(number + 3) % len(country.families)],
        sex=sex,
        born=born,
        street=f"{country.streets[int(rng.integers(len(country.streets)))]} {int(rng.integers(11, 99))}",
        city=f"{int(rng.integers(11111, 99999))} {country.cities[int(rng.integers(len(country.cities)))]}",
        phone=f"{country.phone} {int(rng.integers(1000000, 9999999))}",
        hospital_id=_code(rng, 10),
        insurance=_code(rng, 12),
        weight_kg=float(np.round(rng.uniform(52, 96), 1)),
        height_m=float(np.round(rng.uniform(1.56, 1.92), 2)),
    )


def make_staff(country: Country, rng: np.random.Generator) -> Staff:
    """Invent the staff of a site; nobody shares the family name of a patient."""
    hospital = country.hospitals[int(rng.integers(len(country.hospitals)))]
    return Staff(
        institution=hospital,
        street=f"{country.streets[int(rng.integers(len(country.streets)))]} {int(rng.integers(101, 199))}",
        department="Neuroradiology",
        referring=f"{country.doctors[0]}^{country.women[0]}^^Dr.",
        performing=f"{country.doctors[1]}^{country.men[1]}^^Prof.",
        reading=f"{country.doctors[2]}^{country.men[2]}",
        operator=f"{country.doctors[3]}^{country.women[3]}",
    )


def _code(rng: np.random.Generator, length: int) -> str:
    return "".join(_BASE_36[int(k)] for k in rng.integers(0, len(_BASE_36), length))
