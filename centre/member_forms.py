"""What leads and managers fill in about their team, and what a newcomer fills in to join one."""

from collections.abc import Iterable, Sequence
from typing import Any

from django import forms
from django.contrib.auth import password_validation
from django.core.exceptions import ValidationError
from django.utils.html import format_html
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from centre.members import MemberError, email_address
from centre.models import Membership, User
from centre.names import LONGEST, person_name
from centre.permissions import ProjectRole
from centre.registry import UnclaimedName
from centre.role_words import what_role_means


class NameField(forms.CharField):
    """A person's name, as it will be kept."""

    default_error_messages = {"max_length": _("The name has more than %(limit_value)s characters. Shorten it.")}

    def __init__(self, **options: Any) -> None:
        super().__init__(max_length=LONGEST, **options)

    def to_python(self, value: Any) -> str:
        return person_name(super().to_python(value) or "")


class AddressField(forms.CharField):
    """An e-mail address, as it will be kept."""

    widget = forms.EmailInput
    default_error_messages = {
        "required": _("Write the e-mail address of the person."),
        "max_length": _("The e-mail address is longer than %(limit_value)s characters. Check it."),
    }

    def __init__(self, **options: Any) -> None:
        super().__init__(max_length=254, **options)

    def to_python(self, value: Any) -> str:
        text = super().to_python(value) or ""
        try:
            return email_address(text) if text else ""
        except MemberError as refused:
            raise ValidationError(str(refused)) from None


class RoleField(forms.TypedChoiceField):
    """One of the roles that the person may give, each with what it may do."""

    default_error_messages = {"required": _("Choose a role."), "invalid_choice": _("Choose one of the roles.")}

    def __init__(self, **options: Any) -> None:
        super().__init__(coerce=ProjectRole, widget=forms.RadioSelect, label=_("Role"), **options)

    def offer(self, roles: Iterable[ProjectRole]) -> None:
        self.choices = [
            (role.value, format_html("<b>{}</b> <span>{}</span>", role.label, what_role_means(role))) for role in roles
        ]

    def validate(self, value: Any) -> None:
        """A role that was not offered is the leads' to give."""
        if value == ProjectRole.LEAD and not self.valid_value(value):
            raise ValidationError(gettext("Only a lead of the project can make somebody a lead."))
        super().validate(value)


class RoleForm(forms.Form):
    """A member's new role."""

    role = RoleField()

    def __init__(self, *args: Any, roles: Sequence[ProjectRole], **options: Any) -> None:
        super().__init__(*args, **options)
        self.fields["role"].offer(roles)  # type: ignore[attr-defined]


class InviteForm(RoleForm):
    """Whom to invite, in which language, as what."""

    email = AddressField(
        label=_("E-mail address"),
        widget=forms.EmailInput(attrs={"autocomplete": "off"}),
        help_text=_("The link to join goes to this address, and only the account of this address can use it."),
    )
    name = NameField(label=_("Name"), required=False, help_text=_("As the letter greets them; may stay empty."))
    language = forms.ChoiceField(
        label=_("Language of the letter"),
        choices=User.Language.choices,
        initial=User.Language.ENGLISH,
        error_messages={
            "required": _("Choose a language for the letter."),
            "invalid_choice": _("Choose one of the languages."),
        },
    )
    field_order = ("email", "name", "language", "role")


class UserNameForm(forms.Form):
    """Whose runs a user name stands for."""

    name = forms.TypedChoiceField(
        label=_("User name on the cluster"),
        coerce=str,
        error_messages={"required": _("Choose a user name."), "invalid_choice": _("Choose one of the user names.")},
    )
    member = forms.TypedChoiceField(
        label=_("Belongs to"),
        coerce=int,
        error_messages={"required": _("Choose a member."), "invalid_choice": _("Choose one of the members.")},
    )

    def __init__(
        self, *args: Any, names: Sequence[UnclaimedName], members: Sequence[Membership], **options: Any
    ) -> None:
        super().__init__(*args, **options)
        self.names = {f"{name.cluster_id}:{name.name}": name for name in names}
        self.people = {row.user_id: row.user for row in members}
        name, member = self.fields["name"], self.fields["member"]
        name.choices = [("", ""), *((key, str(each)) for key, each in self.names.items())]  # type: ignore[attr-defined]
        member.choices = [("", ""), *((key, str(each)) for key, each in self.people.items())]  # type: ignore[attr-defined]

    def clean_name(self) -> UnclaimedName:
        return self.names[self.cleaned_data["name"]]

    def clean_member(self) -> User:
        return self.people[self.cleaned_data["member"]]


class NewcomerForm(forms.Form):
    """Name and password of somebody who joins and has no account yet, or never had a password."""

    name = NameField(
        label=_("Your name"),
        help_text=_("As your team and the centre know you."),
        widget=forms.TextInput(attrs={"autocomplete": "name"}),
        error_messages={"required": _("Write your name.")},
    )
    password1 = forms.CharField(
        label=_("Password"),
        strip=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
        error_messages={"required": _("Choose a password.")},
    )
    password2 = forms.CharField(
        label=_("Password, once more"),
        strip=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
        error_messages={"required": _("Write the password once more.")},
    )

    def __init__(self, *args: Any, email: str, **options: Any) -> None:
        super().__init__(*args, **options)
        self.email = email
        self.fields["password1"].help_text = password_validation.password_validators_help_text_html()

    def clean(self) -> dict[str, Any]:
        """The portal's rules for passwords, which also look at name and address."""
        cleaned = super().clean() or self.cleaned_data
        first, second = cleaned.get("password1"), cleaned.get("password2")
        if first and second and first != second:
            self.add_error("password2", gettext("The two passwords are not the same."))
        elif first and second:
            try:
                password_validation.validate_password(first, User(email=self.email, name=cleaned.get("name", "")))
            except ValidationError as weak:
                self.add_error("password1", weak)
        return cleaned
