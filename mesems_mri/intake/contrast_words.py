"""Words by which sites name the contrast phase of a series, in 18 languages: a closed list.

Lower case, without accents, as `mesems_mri.intake.contrast_name.plain_name` writes a name (``ø`` as ``o``,
``ł`` as ``l``, Greek in Latin letters). Danish, Swedish, Norwegian, German, French, Italian, Spanish,
Catalan, Portuguese, Dutch, Polish, Czech, Croatian, Greek, Turkish, Romanian, Finnish, English.
"""

from mesems_mri.intake.deidentify.vocabulary import WORDS, word_set

AGENT = word_set("""
    gd gad gado gadolinium gadolinio gadolini gadolin gadolinu gadolinum gadolinia gadoliniu gadoterate
    gadobutrol gadoterat gadoteric gadoteridol gadopentetate gadobenate gadodiamide gadopiclenol gadovist
    gadavist dotarem magnevist multihance prohance omniscan clariscan elucirem vueway artirem cyclolux
    magnograf dotagraf dotavision dotaspin primovist eovist gddtpa gddota gdbopta gdbtdo3a dtpa
    contrast contrasts contraste contrasto contrastes contrastmiddel contraststof contrastmedium
    contrastvloeistof
    kontrast kontrasts kontrastu kontrastem kontrasta kontrastom kontrastmittel kontrastmittels kontrastmiddel
    kontrastmiddels kontrastmedel kontrastni kontrastnog kontrastnoga kontrastnim kontrastne kontrastna
    kontrastnou kontrastowy kontrastowego kontrastowym kontrastem kontrascie kontrasti kontrastin
    kontrastilla kontrastia kontrastaine kontrastaineen kontrastmadde kontr kontrastul contrastului
    km mdc pdc kl sdc civ mdk skiagrafiko skiagrafikou skiagrafikoy skiagrafikos skiagraphiko skiastiko
    tehoste tehosteen tehosteella tehostetta tehosteaine tehosteaineen tehosteaineella tehosteainetta
    varjoaine varjoaineen varjoaineella varjoainetta ilac
    inj injection injections injektion injektionen iniezione inyeccion injecao injectie injeccio injectare
    enjeksiyon injekci injekciou injekcji injekcja injekcije injektio injektiota injektion
""")
"""Contrast agents and their giving: ``post`` of themselves, unless another word says otherwise."""

POST = word_set("""
    ce enhanced enhancing kontrastli kontrastlu ilacli tehostettu injecte injectee contrastado
    contrastada contrastee contrastato contrastata kontrastforstarkt kontrastforsterket kontrastforstaerket
    kontrastverstarkt kontrastverstaerkt cmdc ckm kontrastowane
""")
"""Words that say of themselves that contrast agent was given."""

PRE = word_set("""
    unenhanced nonenhanced noncontrast noncon nonce nongd nongad plain
    nativ native natif natives nativo nativa nativi nativne nativni nativno nativt nativa natywne natywna
    natywny natyw natiivi natief nativbild nativaufnahme nativa
    basal basale basali blanco leeraufnahme leer
    kontrastsiz kontrastsuz ilacsiz tehostamaton tehosteeton kontrastfri kontrastfrei kontrastlos contrastvrij
    kontrastlost kontrastfritt smdc okm
""")
"""Words that say of themselves that no contrast agent was given."""

BEFORE = word_set("""
    pre pra prae before vor vorher avant antes przed pred prije ennen fore foer inainte oncesi abans voor
    innan prin
""")
BEFORE_AGENT = word_set("for prima once prior precedente")
"""``before`` only beside an agent: words of other meanings too."""
AFTER = word_set("""
    post after nach nachher apres dopo despues depois apos pos despres nakon poslije sonra sonrasi dupa
    jalkeen jaelkeen efter etter meta
""")
AFTER_AGENT = word_set("po na tras")
WITHOUT = word_set("""
    without wo ohne sans ss senza sin sem sense zonder uden uten utan bez fara ilman choris xoris horis non no
    not none kein keine keinen nicht nein ingen inget ikke icke inte ei geen niet nie nao brak bes yok aneu
    pas o u
""")
WITHOUT_ALONE = word_set("without ohne sans senza zonder uden uten utan bez fara ilman choris xoris horis")
"""Of these one at the end of a name is enough; the others need an agent behind them."""
WITH = word_set("with w mit m avec av con c com amb met med z ze s sa cu me ile")

POSTPOSED = word_set("oncesi once sonrasi sonra jalkeen jaelkeen yok ilman ennen")
"""Words that can stand behind the agent."""
FILLERS = word_set("""
    de di des do da du del della dello la le il l el d the i v iv e f podaniu podaniem podania podani
    administracion administration administracao somministrazione gabe applikation application srodka srodkiem
    srodku srodek sr sredstva sredstvom sredstvo latky latkou latka medio medios moyen produit mezzo meio
    agent agents aine aineen substanta substantei substancja dye bolus material medium media middel medel
    stof tou tis to madde maddesi substance
""")
"""Words between one of the above and its agent."""
AND = word_set("and und et y e og och i a ja ve kai en si oraz und")

CONTRAST = (
    AGENT
    | POST
    | PRE
    | BEFORE
    | BEFORE_AGENT
    | AFTER
    | AFTER_AGENT
    | WITHOUT
    | WITH
    | POSTPOSED
    | FILLERS
    | AND
)
"""All of the above. They name no person, so that a description keeps them when it is de-identified."""

_NOT_NEUTRAL = word_set("unknown other out off none not given con sin")
NEUTRAL = (
    WORDS
    | word_set("""
    t h z tra trans transv transversal axiale axialt axialny aksial aksialt aksiyel sagital sagittalt koronal
    koronalt spin eko echo thin mm cm fs nofs fatsat stir w f tir tirm tse3d spc fl fl2d fl3d me ir fast
    delayed late early min minute minuten minutes minuter minuti minutos opozniona sek recon dixon mdixon
    pns ns p cs ai dl smartspeed highres lowres hires ss msh mtc mt magnetization transfer volume vol brain
    cerebro cervello hersenen hjerne hjarna hjerna aivot mozak mozg mozgu mozku mozek glowa glowy hoved hode
    huvud hoofd kopf tete cabeza cabeca cap beyin kafa egkefalos egkefalou kefali beigin trial ms em sm skl
    serie series seria szekvencia sekvens sequenz sekvencia sekwencja run nr no. stealth navi
    """)
) - _NOT_NEUTRAL
"""Words of other properties of a series: beside a contrast word they change nothing."""
