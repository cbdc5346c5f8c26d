"""Changes of the account tree and of users; each leaves an audit entry."""

from datetime import date, datetime
from typing import Any

from django.db import IntegrityError, connection, transaction
from django.utils.translation import gettext as _

from accounts import mails, outbox
from accounts.access import Role
from accounts.audit import Verb, record_change, save_changes
from accounts.hints import run_soon
from accounts.models import Account, OutboxMessage, User
from accounts.tasks import send_due_mails

CUSTOMER_ROLES = frozenset({Role.RESIDENT, Role.VIEWER})
BUSINESS_ROLES = frozenset(Role) - {Role.RESIDENT}


class UnableToCreateAccount(Exception):
    """The tree does not take such an account there; the message says why."""


class UnableToMoveAccount(Exception):
    """The account cannot lie below the other one; the message says why."""


class UnableToCreateUser(Exception):
    """Such a user cannot be; the message says why."""


class UnableToChangeUser(Exception):
    """What was asked for this user is refused; the message says why."""


def roles_within(account: Account) -> frozenset[str]:
    """The roles that users of this account can have: residents live at a customer's."""
    return CUSTOMER_ROLES if account.is_customer else BUSINESS_ROLES


def create_account(
    *,
    parent: Account | None,
    name: str,
    by: User | None,
    now: datetime,
    kind: str = Account.Kind.BUSINESS,
    **details: Any,
) -> Account:
    """Add an account below `parent` (None: a root). `details` are further fields of the account.

    Raises UnableToCreateAccount below a customer, and for a customer without an account above.
    """
    if parent is None and kind == Account.Kind.CUSTOMER:
        raise UnableToCreateAccount(_("A customer has an account above it."))
    try:
        with transaction.atomic():
            account = Account(parent=parent, name=name, kind=kind, created_at=now, **details)
            account.save()
            # The database made key and path.
            account.refresh_from_db()
            record_change(verb=Verb.CREATED, target=account, account=account, by=by, now=now)
    except IntegrityError as error:
        if constraint_of(error) != "account_customer_is_leaf":
            raise
        raise UnableToCreateAccount(
            _("%(name)s is a customer, and a customer has no sub-accounts.") % {"name": parent}
        ) from error
    return account


def update_account(*, account: Account, by: User | None, now: datetime, **values: Any) -> Account:
    """Change name, e-mail, solution or address. Where the account lies is `move_account`'s."""
    save_changes(target=account, values=values, account=account, by=by, now=now)
    return account


def move_account(
    *, account: Account, new_parent: Account, by: User | None, now: datetime
) -> Account:
    """Hang the account, with everything beneath it, below another one.

    Apps above add what follows from a move (`inventory.operations.move_account`). Raises
    UnableToMoveAccount below itself, below a customer, to where it is, and for the account that
    the actor is bound to.
    """
    if by is not None and by.account_id == account.pk:
        raise UnableToMoveAccount(_("You cannot move the account that you belong to."))
    try:
        with transaction.atomic():
            _lock_tree()
            account.refresh_from_db(fields=["parent", "path"])
            before = account.parent
            if account.parent_id == new_parent.pk:
                raise UnableToMoveAccount(
                    _("%(name)s is below %(parent)s already.")
                    % {"name": account, "parent": new_parent}
                )
            account.parent = new_parent
            account.save(update_fields=["parent", "updated_at"])
            account.refresh_from_db(fields=["path"])
            record_change(
                verb=Verb.MOVED,
                target=account,
                account=account,
                by=by,
                now=now,
                changes={"parent": [before and before.name, new_parent.name]},
            )
    except IntegrityError as error:
        refusals = {
            "account_no_cycle": _("An account cannot lie below itself."),
            "account_customer_is_leaf": _(
                "%(name)s is a customer, and a customer has no sub-accounts."
            )
            % {"name": new_parent},
        }
        reason = refusals.get(constraint_of(error))
        if reason is None:
            raise
        raise UnableToMoveAccount(reason) from error
    return account


def create_user(
    *,
    account: Account,
    email: str,
    role: str,
    by: User | None,
    now: datetime,
    password: str | None = None,
    **details: Any,
) -> User:
    """Add a user of the account; without a password nobody can sign in as them yet.

    Raises UnableToCreateUser for an e-mail that is taken and for a role that does not fit the
    account.
    """
    if role not in roles_within(account):
        raise UnableToCreateUser(role_refusal(account))
    try:
        with transaction.atomic():
            user = User.objects.create_user(
                email, password, account=account, role=role, created_at=now, **details
            )
            record_change(
                verb=Verb.CREATED,
                target=user,
                account=account,
                by=by,
                now=now,
                changes={"role": [None, role]},
            )
    except IntegrityError as error:
        if constraint_of(error) not in {"user_email_unique", "accounts_user_email_key"}:
            raise
        raise UnableToCreateUser(_("Somebody signs in with this e-mail already.")) from error
    return user


def invite_user(
    *, account: Account, email: str, role: str, by: User | None, now: datetime, **details: Any
) -> User:
    """Add a user and mail them a link with which they choose a password.

    Raises UnableToCreateUser as `create_user` does.
    """
    with transaction.atomic():
        user = create_user(account=account, email=email, role=role, by=by, now=now, **details)
        _save_letter(mails.INVITATION, user.email, now)
    return user


def invite_again(*, user: User, by: User | None, now: datetime) -> None:
    """Mail the invitation once more. Raises UnableToChangeUser for who has signed in before."""
    if user.last_login is not None:
        raise UnableToChangeUser(_("They have signed in before; they can ask for a new password."))
    with transaction.atomic():
        _save_letter(mails.INVITATION, user.email, now)
        record_change(verb=Verb.INVITED, target=user, account=user.account, by=by, now=now)


def request_password_reset(*, email: str, now: datetime) -> None:
    """Mail a link that sets a new password to whoever signs in with this e-mail.

    The same is done, and takes as long, whether somebody does or not.
    """
    with transaction.atomic():
        _save_letter(mails.PASSWORD_RESET, email, now)


def change_role(*, user: User, role: str, by: User | None, now: datetime) -> User:
    """Give the user another role. Raises UnableToChangeUser for oneself, and for a misfit."""
    if by is not None and by.pk == user.pk:
        raise UnableToChangeUser(_("You cannot change your own role."))
    if user.account is not None and role not in roles_within(user.account):
        raise UnableToChangeUser(role_refusal(user.account))
    save_changes(
        target=user,
        values={"role": role},
        account=user.account,
        by=by,
        now=now,
        verb=Verb.ROLE_CHANGED,
    )
    return user


def update_user(
    *,
    user: User,
    by: User | None,
    now: datetime,
    role: str | None = None,
    **values: str | date | None,
) -> User:
    """Change name, phone, language or contract information, and the role where one is given.

    Raises UnableToChangeUser as `change_role` does, and then changes nothing.
    """
    with transaction.atomic():
        if role is not None and role != user.role:
            change_role(user=user, role=role, by=by, now=now)
        save_changes(target=user, values=values, account=user.account, by=by, now=now)
    return user


def deactivate_user(*, user: User, by: User | None, now: datetime) -> None:
    """End the user's access at once, sessions included. Raises UnableToChangeUser for oneself."""
    if by is not None and by.pk == user.pk:
        raise UnableToChangeUser(_("You cannot deactivate yourself."))
    _set_active(user, active=False, by=by, now=now)


def reactivate_user(*, user: User, by: User | None, now: datetime) -> None:
    """Let the user in again, with the password that they had."""
    _set_active(user, active=True, by=by, now=now)


def constraint_of(error: IntegrityError) -> str | None:
    """The name of the constraint that the database kept, where it says so."""
    return getattr(getattr(error.__cause__, "diag", None), "constraint_name", None)


def _set_active(user: User, *, active: bool, by: User | None, now: datetime) -> None:
    with transaction.atomic():
        changed = User.objects.filter(pk=user.pk, is_active=not active).update(
            is_active=active, updated_at=now
        )
        user.is_active = active
        if changed:
            verb = Verb.REACTIVATED if active else Verb.DEACTIVATED
            record_change(verb=verb, target=user, account=user.account, by=by, now=now)


def _save_letter(letter: str, email: str, now: datetime) -> OutboxMessage:
    message = outbox.add_message(
        kind=mails.KIND, payload={"letter": letter, "email": email}, now=now
    )
    run_soon(send_due_mails)
    return message


def _lock_tree() -> None:
    """Take the lock of the tree's trigger before any row's, so that moves queue, not deadlock."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtext('accounts_account'))")


def role_refusal(account: Account) -> str:
    """Why a role does not fit the account."""
    if account.is_customer:
        return _("Users of a customer are residents or viewers.")
    return _("Only users of a customer can be residents.")
