"""Reads of the account tree that cross rows."""

from dataclasses import dataclass
from operator import itemgetter
from typing import Any
from uuid import UUID

from django.apps import apps
from django.core.exceptions import FieldDoesNotExist
from django.db.models import Count, Model, OuterRef, Q, QuerySet, Subquery, Value
from django.db.models.functions import Coalesce, Length
from django.utils.text import capfirst
from django.utils.translation import gettext as _

from accounts.access import Role, ScopedQuerySet
from accounts.audit import DETAILS, LISTS, Verb
from accounts.models import Account, AuditEntry, User


@dataclass(frozen=True)
class Node:
    """One account of the tree as a page shows it; `children` is None where it is closed."""

    account: Account
    has_children: bool
    children: "list[Node] | None" = None


def chain(account: Account, user: User) -> list[Account]:
    """The accounts above this one that the user may see, from the top down."""
    return trail(account, user, is_included=False)


def trail(account: Account, user: User, *, is_included: bool = True) -> list[Account]:
    """The account and those above it, as far as the user may see them, from the top down."""
    keys = [int(key) for key in account.path.rstrip(".").split(".")]
    if not is_included:
        keys.pop()
    return list(
        Account.objects.visible_to(user).filter(key__in=keys).order_by(Length("path"), "path")
    )


def roots(user: User) -> QuerySet[Account]:
    """Where the user's sight begins: their account; for staff every root."""
    visible = Account.objects.visible_to(user)
    if user.is_staff:
        return visible.filter(parent=None)
    return visible.filter(pk=user.account_id)


def with_counts(accounts: QuerySet[Account]) -> QuerySet[Account]:
    """Each account with the counts of its direct sub-accounts, its customers and its users."""

    def of(queryset: QuerySet, field: str, **condition: str) -> Coalesce:
        counted = (
            queryset.filter(**{field: OuterRef("pk")}, **condition)
            .order_by()
            .values(field)
            .annotate(n=Count("pk"))
            .values("n")
        )
        return Coalesce(Subquery(counted), Value(0))

    return accounts.annotate(
        businesses=of(Account.objects.all(), "parent", kind=Account.Kind.BUSINESS),
        customers=of(Account.objects.all(), "parent", kind=Account.Kind.CUSTOMER),
        people=of(User.objects.all(), "account"),
    )


def children(account: Account, user: User) -> QuerySet[Account]:
    """The business accounts directly below; customers have a list of their own."""
    return (
        with_counts(Account.objects.visible_to(user))
        .filter(parent=account, kind=Account.Kind.BUSINESS)
        .order_by("name", "key")
    )


def tree(user: User, open_at: Account | None) -> list[Node]:
    """The tree from the user's roots, open down to an account, or at the roots alone."""
    opened = {int(key) for key in open_at.path.rstrip(".").split(".")} if open_at else set()
    tops = list(with_counts(roots(user)).order_by("name", "key"))
    if not opened:
        opened = {top.key for top in tops[:5]}
    return [_node(top, user, opened) for top in tops]


def node(account: Account, user: User, *, is_open: bool) -> Node:
    """One node (of `with_counts`), open by one level or closed."""
    return _node(account, user, {account.key} if is_open else set())


def _node(account: Account, user: User, opened: set[int]) -> Node:
    has_children = account.businesses > 0
    if not has_children or account.key not in opened:
        return Node(account, has_children)
    below = [_node(child, user, opened) for child in children(account, user)]
    return Node(account, has_children, below)


def accounts_in_sight(user: User, *, search: str = "") -> QuerySet[Account]:
    """Every account that the user sees, customers first; `search` looks at name and place."""
    found = Account.objects.visible_to(user).select_related("parent")
    for word in search.split():
        found = found.filter(
            Q(name__icontains=word) | Q(city__icontains=word) | Q(postal_code__startswith=word)
        )
    return found.order_by("-kind", "name", "key")


def customers_below(account: Account, user: User, *, search: str = "") -> QuerySet[Account]:
    """The customers in the account's subtree; `search` looks at name, e-mail, town and users."""
    found = (
        Account.objects.visible_to(user)
        .below(account)
        .filter(kind=Account.Kind.CUSTOMER)
        .select_related("parent")
    )
    for word in search.split():
        people = User.objects.filter(Q(full_name__icontains=word) | Q(email__icontains=word))
        found = found.filter(
            Q(name__icontains=word)
            | Q(email__icontains=word)
            | Q(city__icontains=word)
            | Q(postal_code__startswith=word)
            | Q(pk__in=people.values("account"))
        )
    return with_counts(found)


def users_seeing(account: Account) -> QuerySet[User]:
    """Who sees an account because they are bound to it or to one above it; staff left out."""
    keys = [int(key) for key in account.path.rstrip(".").split(".")]
    return (
        User.objects.filter(account__key__in=keys, is_active=True, is_staff=False)
        .exclude(role=Role.GRID_OPERATOR)
        .select_related("account")
        .order_by(Length("account__path"), "full_name", "email")
    )


@dataclass(frozen=True)
class AccessChange:
    """Who would see an account after a move and does not now, and the other way round."""

    gaining: list[User]
    losing: list[User]


def preview_access(account: Account, new_parent: Account) -> AccessChange:
    """What a move would change for the users above."""
    now = {user.pk: user for user in users_seeing(account)}
    inside = {user.pk: user for user in now.values() if user.account_id == account.pk}
    then = {user.pk: user for user in users_seeing(new_parent)} | inside
    return AccessChange(
        gaining=[user for pk, user in then.items() if pk not in now],
        losing=[user for pk, user in now.items() if pk not in then],
    )


def audit_entries(
    account: Account | None,
    user: User,
    *,
    verb: str = "",
    kind: str = "",
    search: str = "",
    target: UUID | None = None,
) -> QuerySet[AuditEntry]:
    """The entries of an account's subtree (None: all in sight), newest first."""
    entries = AuditEntry.objects.visible_to(user).select_related("by", "account")
    if account is not None:
        entries = entries.filter(account__path__startswith=account.path)
    if verb:
        entries = entries.filter(verb=verb)
    if kind:
        entries = entries.filter(target_kind=kind)
    if target is not None:
        entries = entries.filter(target_id=target)
    for word in search.split():
        entries = entries.filter(
            Q(target_name__icontains=word)
            | Q(by__email__icontains=word)
            | Q(by__full_name__icontains=word)
        )
    return entries.order_by("-at", "-id")


@dataclass(frozen=True)
class AuditLine:
    """An entry in words; `changes` are (what, before, after), None where there is no such value."""

    entry: AuditEntry
    verb: str
    kind: str
    changes: list[tuple[str, Any, Any]]


def audit_line(entry: AuditEntry) -> AuditLine:
    """The entry as a page shows it."""
    model = _model_of(entry.target_kind)
    changes = []
    for name, values in entry.changes.items():
        is_pair = name not in LISTS and isinstance(values, list) and len(values) == 2
        before, after = values if is_pair else (None, values)
        choices = _choices(model, name)
        changes.append(
            (_field_words(model, name), *(_in_words(value, choices) for value in (before, after)))
        )
    return AuditLine(
        entry=entry,
        verb=verb_name(entry.verb),
        kind=kind_name(entry.target_kind),
        changes=changes,
    )


def verb_name(verb: str) -> str:
    """What was done; verbs of apps above are shown as they are."""
    return str(Verb(verb).label) if verb in Verb.values else verb.replace("_", " ")


def kind_name(label: str) -> str:
    """What a kind of target is called: `inventory.system` is a system."""
    model = _model_of(label)
    return str(model._meta.verbose_name) if model else label


def audit_kinds() -> list[tuple[str, str]]:
    """Kinds of target that can have entries (every scoped model), with their names."""
    return sorted(
        (
            (model._meta.label_lower, capfirst(str(model._meta.verbose_name)))
            for model in apps.get_models()
            if isinstance(model._default_manager.all(), ScopedQuerySet) and model is not AuditEntry
        ),
        key=itemgetter(1),
    )


def _model_of(label: str) -> type[Model] | None:
    try:
        return apps.get_model(label)
    except (LookupError, ValueError):
        return None


def _field_words(model: type[Model] | None, name: str) -> str:
    if name in DETAILS:
        return str(DETAILS[name])
    try:
        return str(model._meta.get_field(name).verbose_name) if model else name
    except FieldDoesNotExist:
        return name.replace("_", " ")


def _choices(model: type[Model] | None, name: str) -> dict[Any, Any]:
    """The names of a field's values, as of roles and languages; empty where it has none."""
    try:
        return dict(model._meta.get_field(name).flatchoices) if model else {}
    except (FieldDoesNotExist, AttributeError):
        return {}


def _in_words(value: Any, choices: dict[Any, Any]) -> Any:
    if isinstance(value, bool):
        return _("yes") if value else _("no")
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return str(choices[value]) if isinstance(value, str) and value in choices else value
