"""Allow-list of words that name no person: what may remain of free text.

A name can stand in any text, and nobody can list all names. So a text is not searched for names, but reduced
to words of these lists; a word that is missing here costs a word of a series description, and no more. A
trial adds its own through ``known_words`` of :class:`mesems_mri.intake.deidentify.deidentifier.Deidentifier`.
"""


def word_set(text: str) -> frozenset[str]:
    """Return the words of a text as a set."""
    return frozenset(text.split())


CODES = word_set("""
    fil seq som combined original primary derived secondary other localizer axial sagittal coronal oblique
    mpr mip minip projection image norm dis nd none mixed magnitude phase real imaginary complex volume
    sampled distorted monochrome color fluid attenuated proton density diffusion flow encoded perfusion stir
    flair tagging tof unknown star subtraction addition ffe tse fse mean average sub add map adc trace
    tracew csa mosaic resampled filtered post proc screen save saved capture reformatted water fat out
    opposed split uni inv denoised denoise dwi swi yes no row col column mr ct ot pt us cr body surface
    multicoil quadrature endorectal extremity brain head skull neck spine cspine tspine lspine headneck hfs
    hfp ffs ffp hfdr hfdl ffdr ffdl palette rgb ybr full partial rct ict iso gems acc edr fsa fast nav pfp
    sat trf cal card resp filter vasctof irp bsp gradient spin both epi single multiple rectilinear radial
    spiral linear centric segmented reverse reversed random planar product research service iec normal first
    second level field whole static nerve stim per slice grappa sense smash pils caipirinha arc asset
    spectral silicone identity inverse hamming lowpass frequency combination select spatial grid tiled
    sparse exact sigmoid off on pre arterial portal venous delayed immediate steady state dynamic gadolinium
    iodine carbon dioxide barium xenon presentation processing enabled disabled osp mtc
""")
"""Words of coded values (value representation CS), as the standard and the vendors define them."""

WORDS = word_set("""
    gradient spoiled inversion recovery fluid attenuated combine adaptive squares r rx b d e g i j k m n p s
    t v w x we wf ns fs fl fi se ir gr gre ep fse tse ffe tfe tfl vfl flair mprage mpr mp rage memprage
    space spc da cube vista brainview bravo spgr fspgr efgre fgre vibe lava thrive flash truefisp fisp fiesta
    bffe bssfp ciss irprep irspgr stir tirm propeller blade multivane dixon ideal iterative swi swan swip
    dwi view dti adc epi diff trace tracew perf perfusion dsc dce haste ssfse pcasl asl bold localizer
    diffusion
    localiser localizador loc scout survey plane planes aahead aascout aaspine head brain cerebro cerebrum
    encephale encefalo cervello hirn kopf schaedel cranio cranium crane skull neck spine cord orbit orbits
    ax axial tra trans transverse transversal trs sag sagittal sagital sagittale cor coronal coronale
    koronar obl oblique post pre gd gado gadolinium gadovist dotarem contrast contraste contrasto mdc km
    kontrast kontrastmittel nach mit ohne vor con senza sin avec sans with without wo after before native
    nativ plain basale enhanced ce c mm cm ms ml sec min iso isotropic thin slab slice slices thick mmol mg
    kg fat sat fatsat fatsup sup suppressed spair spir water pat sense grappa arc asset caipi caipirinha cs
    fast turbo quick deep recon reconstruction rec dl spin echo echoes double dual triple single dp pd pdw
    ptw proton density weighted weight star med medic std standard default routine high res hires hr
    resolution ndd norm nd dis dist distortion corr corrected correction mip minip reformat reformatted sub
    subtraction sum add mean derived map maps calib calibration cal ref reference shim prescan coil field
    fieldmap fmri rest phase magnitude protocol prot study baseline screening follow followup fu week weeks
    wk month visit ses session run acq anat anatomical advanced sequence sequences clinical trial multiple
    sclerosis sclerose sclerosi naims magnims mesems mr mri irm rm rmn rmi mrt magnetic resonance nmr and of
    the et und y la de del in repeat repetition rpt motion thk gap nex nsa tr te ti fa fov bw etl
    turbofactor tof angio mra mrv pc ven art images series ge siemens philips gyrus magn mtc mt mtr off on
    dir psir uni inv den opt optimized long short early late delay injection bolus gadobutrol gadoterate
    gadoterat gadoteric acid dota meglumine meglumin dimeglumine gadopentetate magnevist multihance
    gadobenate prohance gadoteridol omniscan gadodiamide clariscan dotavision dotagraf cyclolux gadopiclenol
    elucirem vueway gadoxetate eovist primovist optimark gadoversetamide artirem macrocyclic linear
    intravenous iv venous route generic unknown none other not given tissue white matter grey gray lesion
    lesions
""")
"""Words of descriptions, sequence names and contrast agents, in the languages of the sites seen so far."""

DEVICES = word_set("""
    ha hb siemens healthineers healthcare health gmbh ag ge gems general electric medical systems system
    philips hitachi corporation co ltd inc toshiba canon hyperfine research united imaging uih fujifilm
    esaote paramed bruker biospin technologies company magnetom prisma fit skyra verio trio triotim tim aera
    avanto avantofit skyrafit espree symphony sonata harmony concerto sola vida lumina altea amira sempra
    essenza allegra biograph mmr terra cima viato mosaic spectra free max star flow expert vision impact
    open signa hdx hdxt hde hdi excite optima discovery pioneer architect artist explorer creator voyager
    premier hero victor champion brivo prime horizon echospeed infinity twin genesis lx dv rx px mr mrw
    achieva ingenia intera ambition elition dstream panorama multiva prodiva gyroscan evolution nt tx ds
    quasar vantage titan atlas orian galan elan centurian excelart echelon oval smart oasis aperto airis
    swoop umr omega syngo numaris software release version va vb vd ve xa na ea hf cx sp patch build coil
    coils head neck brain body spine array matrix multi channel ch phased flex large small birdcage quad
    quadrature nv hns hnu hna hnacpc nvarray neurovascular tdi gem air split top he ne hc nc hea hep nea
    sense int receive transmit rf q bc surface volume unknown none
""")
"""Words of manufacturers, scanner models, software versions and coils."""
