"""Who saw and changed what: FHIR AuditEvents in an append-only, hash-chained file (45 CFR 164.312(b)).

    log.py       what is told to the audit, and when it is on disk
    events.py    the AuditEvents, by the IHE Basic Audit Log Patterns (BALP)
    chain.py     the files: appending, checking, what is kept elsewhere

Nothing here deletes: six years are the law's minimum (45 CFR 164.316(b)(2)(i)). This is the one place where
patient ids and whole queries belong; the files are readable by their owner only.
"""

from bhi_fhir.audit.chain import AuditError, Break, Checked, Head, verify
from bhi_fhir.audit.events import Item, Person
from bhi_fhir.audit.log import AuditLog, PatientAudit

__all__ = ["AuditError", "AuditLog", "Break", "Checked", "Head", "Item", "PatientAudit", "Person", "verify"]
