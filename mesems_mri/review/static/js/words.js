/** Words of the page: one place for what a code is called. */

export const KINDS = { t2: "T2", gel: "GEL" };
export const KIND_NAMES = { t2: "T2 lesion", gel: "gadolinium-enhancing lesion" };
export const ORIGINS = { counted: "Counted candidates", offered: "Candidates offered", reader: "Added by a reader" };
export const DECISIONS = { undecided: "Undecided", accepted: "Accepted", rejected: "Rejected", unsure: "Unsure" };
export const STATUSES = {
  new: "New",
  enlarging: "Enlarging",
  stable: "Stable",
  enhancing: "Enhancing",
  persistent: "Persistent",
};
export const REGIONS = {
  periventricular: "periventricular",
  juxtacortical: "juxtacortical",
  infratentorial: "infratentorial",
  deep_white_matter: "deep white matter",
};
/** Short forms for the rows of the list; the detail has the whole word. */
const REGIONS_SHORT = {
  periventricular: "periventr.",
  juxtacortical: "juxtacort.",
  infratentorial: "infratent.",
  deep_white_matter: "deep WM",
};
export const PARTS = {
  all: "Whole visit",
  gel: "Gadolinium-enhancing lesions",
  t2_change: "New and enlarging T2 lesions",
  t2: "T2 lesions",
};
export const STAGES = {
  unassisted: "First read, without candidates",
  assisted: "Read with candidates",
  adjudication: "Adjudication",
};
export const STATES = { open: "Not begun", begun: "Begun", signed: "Signed" };
export const VISITS = { current: "Current", prior: "Prior", difference: "Current \u2212 prior" };
export const MEANINGS = {
  unassisted: "I have read this visit without candidates. These findings and decisions are mine.",
  assisted: "I have read this visit. These findings and decisions are mine.",
  adjudication: "I have adjudicated the two reads of this visit. These decisions are mine.",
};

/** Keys 1 to 4: what each sets, by kind of finding. */
export const STATUS_KEYS = {
  t2: [["t2_status", "new"], ["t2_status", "enlarging"], null, ["t2_status", "stable"]],
  gel: [["gd_status", "new"], null, ["gd_status", "enhancing"], ["gd_status", "persistent"]],
};

export const nameOf = (finding) => `${KINDS[finding.kind] ?? finding.kind} ${finding.label}`;

/** Status in words; what is rejected has none. */
export const statusOf = (read) =>
  read.decision === "rejected" ? "" : [read.t2_status, read.gd_status]
    .filter(Boolean)
    .map((code) => STATUSES[code] ?? code)
    .join(", ");

export const regionOf = (finding) => REGIONS[finding.region] ?? (finding.region ?? "").replaceAll("_", " ");

export const regionShort = (finding) => REGIONS_SHORT[finding.region] ?? regionOf(finding);

export const number = (value, digits = 0) =>
  value === null || value === undefined ? "\u2013" : Number(value).toFixed(digits);
