"""What CMS says: dated values, codes, requirements and switches as TOML, a citation on each.

The service month picks the value, never today's date. Each file says up to which day somebody
re-read its source; a later month is shown but not drafted.
"""

from bhi_fhir.policy.loader import policy, rules_of
from bhi_fhir.policy.model import ROLES, Code, Policy, Rules, Switches, Threshold

__all__ = ["ROLES", "Code", "Policy", "Rules", "Switches", "Threshold", "policy", "rules_of"]
