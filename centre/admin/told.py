"""What an act of the audit trail is called on the screen. The trail keeps the verb's name; readers get words."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from django.utils.functional import Promise
from django.utils.text import capfirst
from django.utils.translation import gettext_lazy, pgettext_lazy

ACTS: Final[Mapping[str, Promise]] = MappingProxyType(
    {
        "accept_invitation": gettext_lazy("Invitation accepted"),
        "add_cluster_user": gettext_lazy("User name on a cluster added"),
        "add_contact": gettext_lazy("Contact added"),
        "add_member": gettext_lazy("Member added"),
        "add_person": gettext_lazy("Person added"),
        "apply_upload": gettext_lazy("Spreadsheet upload applied"),
        "approve_appointment": gettext_lazy("Appointment approved"),
        "approve_request": gettext_lazy("Request approved"),
        "ask_appointment": gettext_lazy("Appointment asked for"),
        "ask_rule": gettext_lazy("Rule asked for"),
        "ask_for_hours": gettext_lazy("GPU-hours asked for"),
        "ask_for_longer_period": gettext_lazy("Longer period asked for"),
        "ask_for_transfer": gettext_lazy("Move of GPU-hours asked for"),
        "ask_for_members": gettext_lazy("Further members asked for"),
        "ask_centre": gettext_lazy("Something else asked of the centre"),
        "approve_rule": gettext_lazy("Rule approved"),
        "award": gettext_lazy("Subsidy awarded"),
        "carry_out_request": gettext_lazy("Act carried out by one officer"),
        "change_application": gettext_lazy("Application mended"),
        "change_asks": gettext_lazy("GPU-hours of the application mended"),
        "change_contact": gettext_lazy("Contact changed"),
        "change_pool": gettext_lazy("GPU pool changed"),
        "change_project": gettext_lazy("Project changed"),
        "change_role": gettext_lazy("Role changed"),
        "change_tenant": gettext_lazy("Tenant changed"),
        "choose_language": gettext_lazy("Language of letters chosen"),
        "choose_letters": gettext_lazy("Letters chosen"),
        "clear_condition": gettext_lazy("Condition cleared"),
        "cancel_capacity": gettext_lazy("Planned change of capacity cancelled"),
        "carry_over": gettext_lazy("GPU-hours carried over at the end of the period"),
        "issue_statement": gettext_lazy("Statement issued"),
        "close_period": gettext_lazy("Period closed"),
        "close_project": gettext_lazy("Project closed"),
        "close_tenant": gettext_lazy("Tenant closed"),
        "confirm_decision": gettext_lazy("Decision confirmed"),
        "correct_refund": gettext_lazy("Refund corrected for what its job runs cost"),
        "decline_request": gettext_lazy("Request declined"),
        "end_appointment": gettext_lazy("Appointment ended"),
        "end_contact": gettext_lazy("Contact ended"),
        "end_mapping": gettext_lazy("Mapping of runs to a pool ended"),
        "end_outage": gettext_lazy("Outage ended earlier"),
        "end_representation": gettext_lazy("Representation ended"),
        "end_exemption": gettext_lazy("Exemption from take-back ended"),
        "extend_allocation": gettext_lazy("Period of an allocation made longer"),
        "exempt_from_take_back": gettext_lazy("Exempted from take-back"),
        "fail_import": gettext_lazy("Usage import failed"),
        "first_officer": gettext_lazy("First administrator appointed"),
        "forfeit": gettext_lazy("GPU-hours forfeited at the end of the period"),
        "import_usage": gettext_lazy("Usage imported"),
        "invite_person": gettext_lazy("First-sign-in link sent"),
        "invite_to_project": gettext_lazy("Invited to a project"),
        "lapse_request": gettext_lazy("Request lapsed"),
        "lead_to_other_tenant": gettext_lazy("Led on to another record of the tenant"),
        "let_account_draw": gettext_lazy("Further Slurm account let draw on an allocation"),
        "make_import_token": gettext_lazy("Import token made"),
        "map_pool": gettext_lazy("Runs mapped to a pool"),
        "mark_ineligible": gettext_lazy("Application marked ineligible"),
        "merge_into_tenant": gettext_lazy("Merged into another record of the tenant"),
        "move_to_tenant": gettext_lazy("Moved along when two records of a tenant were merged"),
        "mend_record": gettext_lazy("Quarantined record mended and imported"),
        "note_outage": gettext_lazy("Outage noted"),
        "open_allocation": gettext_lazy("Allocation opened"),
        "propose": gettext_lazy("Act proposed to another officer"),
        "record_application": gettext_lazy("Application recorded"),
        "record_decision": gettext_lazy("Decision recorded"),
        "refund": gettext_lazy("Job runs refunded"),
        "register_cluster": gettext_lazy("Cluster registered"),
        "register_pool": gettext_lazy("GPU pool registered"),
        "register_project": gettext_lazy("Project registered"),
        "register_site": gettext_lazy("Site registered"),
        "register_tenant": gettext_lazy("Tenant registered"),
        "refuse_rule": gettext_lazy("Rule refused"),
        "remove_member": gettext_lazy("Member removed"),
        "rename_person": gettext_lazy("Person renamed"),
        "represent": gettext_lazy("Representative added"),
        "resume_project": gettext_lazy("Project resumed"),
        "resume_tenant": gettext_lazy("Tenant resumed"),
        "receive_upload": gettext_lazy("Spreadsheets handed over"),
        "receive_usage": gettext_lazy("Usage received"),
        "revoke_import_token": gettext_lazy("Import token revoked"),
        "settle_late_usage": gettext_lazy("Period end corrected for late usage"),
        "send_invitation_again": gettext_lazy("Invitation sent again"),
        "set_aside_record": gettext_lazy("Quarantined record set aside"),
        "set_capacity": gettext_lazy("GPUs in service set"),
        "set_price": gettext_lazy("List price set"),
        "set_up_centre": gettext_lazy("Centre set up"),
        "set_up_scheme": gettext_lazy("Subsidy scheme set up"),
        "suspend_project": gettext_lazy("Project suspended"),
        "suspend_tenant": gettext_lazy("Tenant suspended"),
        "settle_take_back": gettext_lazy("Take-back warning settled"),
        "take_back_decision": gettext_lazy("Decision taken back"),
        "hold": gettext_lazy("GPU-hours held"),
        "release": gettext_lazy("Held GPU-hours released"),
        "reverse": gettext_lazy("Ledger entry reversed"),
        "take_in_tenant": gettext_lazy("Another record of the tenant merged into this one"),
        "take_back": gettext_lazy("GPU-hours taken back"),
        "take_upload_file": gettext_lazy("File of a spreadsheet upload taken"),
        "take_usage_file": gettext_lazy("File of an import taken"),
        "top_up": gettext_lazy("GPU-hours topped up"),
        "try_import_again": gettext_lazy("Usage import tried again"),
        "transfer": gettext_lazy("GPU-hours moved to another allocation"),
        "warn_take_back": gettext_lazy("Warned that GPU-hours will be taken back"),
        "withdraw_account": gettext_lazy("Further Slurm account withdrawn"),
        "withdraw_appointment": gettext_lazy("Appointment withdrawn"),
        "withdraw_application": gettext_lazy("Application withdrawn"),
        "withdraw_invitation": gettext_lazy("Invitation withdrawn"),
        "withdraw_rule": gettext_lazy("Rule withdrawn"),
        "withdraw_request": gettext_lazy("Request withdrawn"),
    }
)
BY_FORM: Final[Mapping[str, Promise]] = MappingProxyType(
    {"add": pgettext_lazy("act", "Added"), "change": pgettext_lazy("act", "Changed")}
)
"""What a form of the admin writes is called `add_<model>` or `change_<model>`; the object stands beside it."""

FACTS: Final[Mapping[str, Promise]] = MappingProxyType(
    {
        "amount_cents": gettext_lazy("amount (cents of HKD)"),
        "approved_by": gettext_lazy("approved by"),
        "asks": gettext_lazy("GPU time asked for"),
        "changed": gettext_lazy("lines that changed something"),
        "contact": gettext_lazy("contact"),
        "conditions": gettext_lazy("conditions"),
        "corrects": gettext_lazy("corrects entry"),
        "due_on": gettext_lazy("due on"),
        "entries": gettext_lazy("ledger entries"),
        "entry": gettext_lazy("ledger entry"),
        "exemption": gettext_lazy("exemption"),
        "exceptional_grounds": gettext_lazy("exceptional grounds"),
        "files": gettext_lazy("files"),
        "from": gettext_lazy("from allocation"),
        "gpu_hours": gettext_lazy("GPU-hours"),
        "gpu_seconds": gettext_lazy("GPU-seconds"),
        "grants": gettext_lazy("GPU time granted"),
        "left_out": gettext_lazy("wrong lines left out"),
        "letters_declined": gettext_lazy("letters not wanted"),
        "invited_by": gettext_lazy("invited by"),
        "mended_in": gettext_lazy("imported again as"),
        "merged_record": gettext_lazy("merged record"),
        "moved": gettext_lazy("moved along"),
        "name": gettext_lazy("name"),
        "new": gettext_lazy("lines that were new"),
        "outcome": gettext_lazy("outcome"),
        "part": gettext_lazy("part"),
        "period": gettext_lazy("period"),
        "person": gettext_lazy("person"),
        "planned_seconds": gettext_lazy("planned (GPU-seconds)"),
        "rate_bp": gettext_lazy("rate (basis points)"),
        "reason": gettext_lazy("reason"),
        "reverses": gettext_lazy("reverses entry"),
        "rule": gettext_lazy("rule"),
        "runs": gettext_lazy("job runs"),
        "to": gettext_lazy("to allocation"),
        "used_seconds": gettext_lazy("used (GPU-seconds)"),
        "warning": gettext_lazy("warning"),
    }
)
"""What verbs tell of beside the columns of the object itself."""


def act_in_words(act: str) -> str:
    """The act as a person reads it; one that has no words here is shown by its own name."""
    words = ACTS.get(act) or BY_FORM.get(act.partition("_")[0])
    return str(words) if words is not None else capfirst(act.replace("_", " "))


def fact_in_words(name: str) -> str:
    """What a changed fact is called that is no column of the object."""
    words = FACTS.get(name)
    return capfirst(str(words)) if words is not None else name.replace("_", " ")
