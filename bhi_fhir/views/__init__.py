"""One file per FHIR R4 resource: JSON bytes to small typed rows. No joins, no judgement.

A row holds only what billing asks for; everything else in the JSON is skipped unread.
msgspec decodes it about a hundred times faster than a full FHIR model and says where a value has the wrong shape.
"""

from bhi_fhir.views.care_team import CareTeam
from bhi_fhir.views.charge_item import ChargeItem
from bhi_fhir.views.claim import Claim
from bhi_fhir.views.common import Row as Row
from bhi_fhir.views.condition import Condition
from bhi_fhir.views.consent import Consent
from bhi_fhir.views.coverage import Coverage
from bhi_fhir.views.device import Device
from bhi_fhir.views.document_reference import DocumentReference
from bhi_fhir.views.encounter import Encounter
from bhi_fhir.views.episode_of_care import EpisodeOfCare
from bhi_fhir.views.observation import Observation
from bhi_fhir.views.operation_outcome import OperationOutcome
from bhi_fhir.views.organization import Organization
from bhi_fhir.views.patient import Patient
from bhi_fhir.views.practitioner import Practitioner
from bhi_fhir.views.practitioner_role import PractitionerRole
from bhi_fhir.views.procedure import Procedure
from bhi_fhir.views.questionnaire_response import QuestionnaireResponse

VIEWS: dict[str, type[Row]] = {
    view.__name__: view
    for view in (
        CareTeam,
        ChargeItem,
        Claim,
        Condition,
        Consent,
        Coverage,
        Device,
        DocumentReference,
        Encounter,
        EpisodeOfCare,
        Observation,
        OperationOutcome,
        Organization,
        Patient,
        Practitioner,
        PractitionerRole,
        Procedure,
        QuestionnaireResponse,
    )
}
"""Every resource type that is read, by its name."""
