"""Names of T1-weighted series before and after contrast agent, in the languages of the sites."""

from typing import NamedTuple

import pytest

from mesems_mri.intake.contrast_name import phase_of_name


class Named(NamedTuple):
    """Names of one language, before and after contrast agent."""

    pre: tuple[str, ...]
    post: tuple[str, ...]


LANGUAGES = {
    "Danish": Named(
        ("T1 før kontrast", "t1_se_tra_uden_kontrast", "T1 u. kontrast", "T1 TSE nativ"),
        ("T1 efter kontrast", "t1_se_tra_med_kontrast", "T1 m. kontrast"),
    ),
    "Swedish": Named(
        ("T1 före kontrast", "T1 utan kontrast", "T1 SE ax innan kontrastmedel"),
        ("T1 efter kontrast", "T1 med kontrastmedel", "T1 tra kontrastförstärkt"),
    ),
    "Norwegian": Named(
        ("T1 før kontrast", "T1 uten kontrast", "T1 TRA UTEN KM"),
        ("T1 etter kontrast", "T1 med kontrast", "T1 TRA KONTRASTFORSTERKET"),
    ),
    "German": Named(
        ("t1_se_tra_ohne_KM", "T1 nativ", "T1 vor KM-Gabe", "T1 o. KM", "T1 ohne Kontrastmittel", "t1_oKM"),
        ("t1_se_tra_mit_KM", "T1 nach KM", "T1 KM+", "T1 m. KM", "t1_mprage_postKM"),
    ),
    "French": Named(
        ("T1 SE SANS INJECTION", "T1 sans gado", "T1 avant injection", "T1 non injecté", "T1 ss inj"),
        ("T1 SE AVEC INJECTION", "T1 après gado", "T1 GADO", "T1 injecté", "T1 post inj"),
    ),
    "Italian": Named(
        ("T1 senza mdc", "T1 basale", "T1 prima di mdc", "T1 SE senza m.d.c."),
        ("T1 con mdc", "T1 dopo mdc", "T1 post contrasto"),
    ),
    "Spanish": Named(
        ("T1 sin contraste", "T1 S/C", "T1 antes de contraste", "T1 sin gadolinio"),
        ("T1 con contraste", "T1 C/C", "T1 después de contraste", "T1 tras gadolinio"),
    ),
    "Catalan": Named(
        ("T1 sense contrast", "T1 abans de contrast"), ("T1 amb contrast", "T1 després de contrast")
    ),
    "Portuguese": Named(
        ("T1 sem contraste", "T1 antes do contraste", "T1 s/ contraste"),
        ("T1 com contraste", "T1 após contraste", "T1 c/ contraste", "T1 PÓS"),
    ),
    "Dutch": Named(
        ("T1 zonder contrast", "T1 blanco", "T1 voor contrast", "T1 zonder gado"),
        ("T1 met contrast", "T1 na contrast", "T1 na gadolinium"),
    ),
    "Polish": Named(
        ("T1 bez kontrastu", "T1 przed KM", "T1 bez podania kontrastu", "T1 natywne"),
        ("T1 po kontraście", "T1 z kontrastem", "T1 po podaniu środka kontrastowego"),
    ),
    "Czech": Named(
        ("T1 bez k.l.", "T1 před kontrastem", "T1 nativně", "T1 bez KL"),
        ("T1 po k.l.", "T1 s kontrastem", "T1 po kontrastu"),
    ),
    "Croatian": Named(
        ("T1 bez kontrasta", "T1 prije kontrasta", "T1 nativno"),
        ("T1 nakon kontrasta", "T1 s kontrastom", "T1 poslije kontrasta"),
    ),
    "Greek": Named(
        ("T1 χωρίς σκιαγραφικό", "T1 πριν σκιαγραφικό", "T1 choris skiagrafiko"),
        ("T1 με σκιαγραφικό", "T1 μετά σκιαγραφικού", "T1 meta skiagrafiko"),
    ),
    "Turkish": Named(
        ("T1 kontrasts\u0131z", "T1 kontrast öncesi", "T1 ila\u00e7s\u0131z"),
        ("T1 kontrastl\u0131", "T1 kontrast sonras\u0131", "T1 ila\u00e7l\u0131"),
    ),
    "Romanian": Named(
        ("T1 fără contrast", "T1 înainte de contrast", "T1 nativ"),
        ("T1 cu contrast", "T1 după contrast"),
    ),
    "Finnish": Named(
        ("T1 ilman tehostetta", "T1 ennen varjoainetta", "T1 natiivi", "T1 tehostamaton"),
        ("T1 tehosteen jälkeen", "T1 varjoaineella", "T1 tehostettu"),
    ),
    "English": Named(
        (
            *("t1_se_tra_pre", "T1 wo_contrast", "T1 non_enhanced", "T1 w/o Gd", "T1 unenhanced", "T1 -C"),
            *("T1 no gad", "T1 precontrast", "T1preGd", "T1 NONCON", "T1 C-", "T1 without contrast"),
        ),
        (
            *("t1_se_tra_post", "T1 +C", "T1 w/ contrast", "T1 C+", "T1 with gad", "Ax T1 FS POST"),
            *("T1_CE", "T1postGd", "T1 post-Gd 5min", "T1 enhanced", "t1_vibe_tra_dixon_gad_W"),
        ),
    ),
}
PRE = [(language, name) for language, named in LANGUAGES.items() for name in named.pre]
POST = [(language, name) for language, named in LANGUAGES.items() for name in named.post]
UNSPOKEN = [
    *("T1 kontraszt nélkül", "T1 brez kontrasta", "T1 be kontrasto", "T1 senza? blupp contrast"),
    *(
        "T1 post fossa",
        "T1 post-op",
        "T1 KLINIK gd",
        "T1 con soppressione",
        "T1 mit Fettsat",
        "T1 sans FatSat",
    ),
    *("T1 pre and post Gd", "T1 w/wo contrast", "T1 +/- C", "T1 con y sin contraste", "T1 mit und ohne KM"),
    *("t1_mprage_sag_p2_iso", "", "T1-C-SPINE", "T1 contrast off", "T1 bes kontrastosz"),
]


def test_there_are_enough_names_of_every_language() -> None:
    assert len(LANGUAGES) == 18
    assert len(PRE) + len(POST) >= 120
    assert len({name for _, name in (*PRE, *POST)}) >= 115


def test_no_name_before_contrast_agent_is_taken_for_one_after_it() -> None:
    assert [pair for pair in PRE if phase_of_name(pair[1]).phase == "post"] == []
    assert [pair for pair in POST if phase_of_name(pair[1]).phase == "pre"] == []


def test_few_names_are_undecided() -> None:
    undecided = [pair for pair in (*PRE, *POST) if not phase_of_name(pair[1]).phase]
    assert len(undecided) <= 0.02 * (len(PRE) + len(POST)), undecided


@pytest.mark.parametrize("name", UNSPOKEN)
def test_a_name_with_an_unknown_word_or_both_phases_says_nothing(name: str) -> None:
    assert phase_of_name(name).phase == ""


@pytest.mark.parametrize(("language", "name"), PRE)
def test_an_unknown_word_beside_it_never_turns_the_phase(language: str, name: str) -> None:
    for changed in (
        f"{name} Xyzzy",
        f"Xyzzy {name}",
        name.replace(" ", " Xyzzy "),
        name.replace("T1", "T1_Xyzzy"),
    ):
        assert phase_of_name(changed).phase != "post", (language, changed)


@pytest.mark.parametrize(("language", "name"), [*PRE, *POST])
def test_case_and_separators_change_nothing(language: str, name: str) -> None:
    said = phase_of_name(name).phase
    assert phase_of_name(name.upper()).phase in (said, ""), language
    assert phase_of_name(name.lower()).phase in (said, ""), language
    if not set(name) & set("+-/."):
        assert phase_of_name(name.replace(" ", "_")).phase == said
        assert phase_of_name(name.replace(" ", "-")).phase in (said, "")
        assert phase_of_name(f"{name}_2.5mm_p2").phase == said


def test_the_words_are_those_of_the_closed_list() -> None:
    assert phase_of_name("T1 ohne KM Mueller").words == "ohne km"
    assert phase_of_name("T1 før kontrast").words == "for kontrast"
