"""Words that column names and cells are made of, in the languages that files come in; each match is a guess only."""

from __future__ import annotations

import keyword
import re
import unicodedata

TRANSLITERATED = {"ä": "ae", "ö": "oe", "ü": "ue", "ß": "ss", "æ": "ae", "ø": "oe", "å": "aa", "œ": "oe", "ł": "l"}


def _set(text: str) -> frozenset[str]:
    return frozenset(text.split())


LONGEST = 40
"""Characters of a column's name in ``model.yaml``."""

NOT_A_NUMBER = frozenset({"unknown", "unbekannt", "inconnu", "desconocido", "invalid", "refused", "nicht bekannt"})
"""Words that a column of numbers holds where a number is not known."""

PROTECTED: dict[str, frozenset[str]] = {
    "sex": _set("sex gender geschlecht sexe sexo genero sesso kjonn koen kon geslacht plec female male"),
    "race": _set(
        "race ethnicity ethnic ethnie ethnizitaet rasse hautfarbe raza etnia etnicidad black white afam hispanic"
    ),
    "age": _set("age alter agegroup altersgruppe edad eta idade leeftijd alder wiek lebensalter"),
    "religion": _set("religion religious konfession confession glaube religione"),
    "disability": _set("disability disabled behinderung handicap discapacidad schwerbehindert"),
    "nationality": _set(
        "nationality citizenship citizen staatsangehoerigkeit nationalitaet nationalite foreign foreigner "
        "auslaender nacionalidad migration migrationshintergrund immigrant"
    ),
}
"""Attributes that law protects in most places, by the words of a column's name."""
SEX_VALUES = (
    frozenset({"m", "f", "w", "d", "x", "h", "male", "female", "man", "woman", "men", "women", "other", "divers"})
    | frozenset({"maennlich", "weiblich", "mann", "frau", "homme", "femme", "hombre", "mujer", "uomo", "donna"})
    | frozenset({"masculin", "feminin", "masculino", "femenino", "herr", "unknown", "diverse", "nonbinary"})
)
RACE_VALUES = _set(
    "white black asian hispanic caucasian latino africanamerican african american indian amerindian mixed "
    "other native pacific islander"
)

IDENTIFIERS = _set(
    "id ids nr nbr no number nummer kennung kennziffer schluessel key uuid guid identifier ident lfd "
    "lfdnr numero caseid index rowid record sequence"
)
OWNERS = _set(
    "patient person individual customer client kunde kunden kundennummer subject pupil student household haushalt "
    "user account konto member mitglied employee mitarbeiter borrower applicant schueler proband "
    "participant respondent befragter patientid personid customerid versicherter policyholder owner "
    "device machine sensor station store shop"
)
"""Who several rows can belong to."""
CODES = _set(
    "code codes type typ class klasse kennziffer plz zip zipcode postcode postal icd sic isic naics "
    "region bezirk category kategorie group gruppe status source art sparte branche channel"
)
"""Names of whole numbers that are names, not quantities."""
WEIGHTS = _set(
    "sampleweight surveyweight pweight pwgt wgt wgtp wt finalwgt fnlwgt perwt gewichtung "
    "hochrechnungsfaktor personweight instanceweight hochrechnung ponderation casewt wtssall designweight"
)
MAYBE_WEIGHTS = frozenset({"weight", "gewicht", "weights", "poids", "peso"})
TIMES = _set(
    "date datum time zeit zeitpunkt timestamp day tag month monat year jahr quarter quartal period "
    "periode fecha jour ts datetime when antragsdatum aufnahme admission application applied received "
    "created issued start beginn"
)
BIRTHS = _set("birth birthday birthdate dob born geburt geburtsdatum geburtstag naissance nacimiento")
AFTERWARDS = _set(
    "outcome result discharge discharged entlassung final closed completed paid payoff repaid recovered "
    "recovery settled settlement chargeoff default_date end ended ende death died deceased cause verdict "
    "decision approved denied ergebnis nachher after post actual"
)
"""Names of what is often known only after the prediction is made."""


def column_name(original: str, taken: set[str]) -> str:
    """A name that ``model.yaml`` allows, close to the original one, and not in ``taken``.

    Lower case, letters without accents, ``_`` for everything else; a word of Python gets a ``_`` behind it, so that
    expressions can name it.
    """
    apart = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", original)
    text = "".join(TRANSLITERATED.get(c, c) for c in apart.lower())
    text = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    text = re.sub(r"[^a-z0-9]+", "_", text).strip("_")
    if not text or not text[0].isalpha():
        text = f"column_{text}".rstrip("_")
    if len(text) == 1 or keyword.iskeyword(text) or keyword.iskeyword(text.capitalize()):
        text += "_"
    text = text[:LONGEST]
    name, number = text, 2
    while name in taken:
        name = f"{text[: LONGEST - len(str(number)) - 1].rstrip('_')}_{number}"
        number += 1
    return name


def words(original: str) -> set[str]:
    """The words of a column's name, camel case taken apart, and the whole of it as one word."""
    parts = [p for p in column_name(original, set()).split("_") if p]
    return {*parts, "".join(parts), *(re.sub(r"\d+$", "", p) for p in parts)} - {""}


def identifies(original: str) -> bool:
    """Whether a name ends like that of a number that only tells rows or people apart; "number of visits" does not."""
    parts = [p for p in column_name(original, set()).split("_") if p]
    return parts[-1] in IDENTIFIERS or "".join(parts) in IDENTIFIERS


def owns(original: str) -> bool:
    """Whether a name is that of whom a row belongs to: "customer" and "kunde_2" are, "account_balance" is not."""
    parts = [p for p in re.sub(r"[\d_]+$", "", column_name(original, set())).split("_") if p]
    return bool(parts) and (parts[-1] in OWNERS or "".join(parts) in OWNERS)


def plain(value: str) -> str:
    """A cell as the lists of this module write it: lower case, no accents, letters only."""
    text = "".join(TRANSLITERATED.get(c, c) for c in value.lower())
    text = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z ]+", "", text).strip()
