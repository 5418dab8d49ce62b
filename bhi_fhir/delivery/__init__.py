"""Drafts to where the site wants them. One file per sink; each reports what became of every draft.

fhir_sink.py    a FHIR server that takes transactions with ifNoneExist
delivered.py    what is reported
"""

from bhi_fhir.delivery.delivered import Delivered

__all__ = ["Delivered"]
