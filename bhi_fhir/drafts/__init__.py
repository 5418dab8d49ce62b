"""Decisions as FHIR R4 resources. Pure: no clock, no file, no network.

plain.plain_drafts(decision, chart, run)     -> PlainDrafts: ChargeItems and Claims as plain JSON
models.draft(decision, chart, run)           -> PatientDrafts: the same, validated by fhir.resources.R4B
bundle.draft_bundle(decided, set_aside, run) -> the Bundle of `--format fhir`
provenance.provenance(created, evidence, …)  -> after a write

Nothing is imported here: the models take half a second and 60 MB, and who decides a million months has no use for them.
"""
