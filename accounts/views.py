"""Pages of the account tree, of users and of the audit log."""

from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.db.models import Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from accounts import operations, queries
from accounts.access import Action, Role, may, require
from accounts.audit import Verb
from accounts.forms import (
    AccountForm,
    AuditFilterForm,
    InvitationForm,
    NewAccountForm,
    OwnUserForm,
    UserForm,
)
from accounts.fragments import render_page_or_part
from accounts.models import Account, AuditEntry, User
from accounts.paging import page_of, search_of
from gridx import clock

CUSTOMER_ORDER = {
    "name": ("name", "key"),
    "-name": ("-name", "-key"),
    "city": ("city", "name", "key"),
    "-city": ("-city", "-name", "-key"),
    "created": ("created_at", "key"),
    "-created": ("-created_at", "-key"),
}


def managed_account(request: HttpRequest, account_id: UUID) -> Account:
    """The account, where the user may manage it; else Http404 or PermissionDenied."""
    account = get_object_or_404(Account.objects.visible_to(request.user), pk=account_id)
    require(request.user, Action.MANAGE_ACCOUNTS, account)
    return account


def managed_user(request: HttpRequest, user_id: UUID) -> User:
    """The user, where the signed-in one may manage them; else Http404 or PermissionDenied."""
    user = get_object_or_404(
        User.objects.visible_to(request.user).select_related("account"), pk=user_id
    )
    require(request.user, Action.MANAGE_ACCOUNTS, user)
    if user.is_staff and not request.user.is_staff:
        # Staff see everything: whoever could change one of them would see it too.
        raise PermissionDenied
    return user


@login_required
@require_GET
def account_tree(request: HttpRequest) -> HttpResponse:
    """The tree from the user's account down, open to `?open=<account>`; `?q=` finds accounts."""
    user, search = request.user, search_of(request)
    open_at = None
    if "open" in request.GET:
        open_at = _chosen_account(request, request.GET["open"])
    found = None
    if search:
        found = (
            Account.objects.visible_to(user)
            .filter(Q(name__icontains=search) | Q(email__icontains=search))
            .select_related("parent")
            .order_by("name", "key")[:50]
        )
    context = {
        "nodes": queries.tree(user, open_at),
        "search": search,
        "found": found,
        "may_manage": may(user, Action.MANAGE_ACCOUNTS),
    }
    return render_page_or_part(
        request, "accounts/account_tree.html", "accounts/_tree.html", context, target="tree"
    )


@login_required
@require_GET
def account_node(request: HttpRequest, account_id: UUID) -> HttpResponse:
    """One node of the tree, open or (`?closed=1`) closed: what the tree's arrows fetch."""
    visible = queries.with_counts(Account.objects.visible_to(request.user))
    account = get_object_or_404(visible, pk=account_id)
    node = queries.node(account, request.user, is_open="closed" not in request.GET)
    return render(request, "accounts/_node.html", {"node": node})


@login_required
@require_GET
def account_detail(request: HttpRequest, account_id: UUID) -> HttpResponse:
    """An account: where it lies, what is below it, and its users."""
    account = get_object_or_404(
        queries.with_counts(Account.objects.visible_to(request.user)), pk=account_id
    )
    users = (
        User.objects.visible_to(request.user)
        .filter(account=account)
        .order_by("-is_active", "full_name", "email")
    )
    context = {
        "account": account,
        "above": queries.chain(account, request.user),
        "below": queries.children(account, request.user)[:200],
        "page": page_of(users, request.GET.get("page")),
        "may_manage": may(request.user, Action.MANAGE_ACCOUNTS),
        "may_manage_inventory": may(request.user, Action.MANAGE_INVENTORY),
        "is_own": account.pk == request.user.account_id,
    }
    return render_page_or_part(
        request, "accounts/account_detail.html", "accounts/_users.html", context, target="users"
    )


@login_required
@require_GET
def customer_list(request: HttpRequest, account_id: UUID) -> HttpResponse:
    """The customers of an account's subtree: searched, sorted, page by page."""
    account = get_object_or_404(Account.objects.visible_to(request.user), pk=account_id)
    search, sort = search_of(request), request.GET.get("sort", "name")
    order = CUSTOMER_ORDER.get(sort, CUSTOMER_ORDER["name"])
    found = queries.customers_below(account, request.user, search=search).order_by(*order)
    context = {
        "account": account,
        "above": queries.trail(account, request.user),
        "search": search,
        "sort": sort,
        "page": page_of(found, request.GET.get("page")),
        "may_manage": may(request.user, Action.MANAGE_ACCOUNTS),
    }
    return render_page_or_part(
        request,
        "accounts/customer_list.html",
        "accounts/_customers.html",
        context,
        target="results",
    )


@login_required
@require_http_methods(["GET", "POST"])
def account_create(request: HttpRequest, account_id: UUID) -> HttpResponse:
    """Add an account below this one."""
    parent = managed_account(request, account_id)
    form = NewAccountForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            account = operations.create_account(
                parent=parent, by=request.user, now=clock.now(), **form.cleaned_data
            )
        except operations.UnableToCreateAccount as error:
            form.add_error(None, str(error))
        else:
            messages.success(request, _("%(name)s was added.") % {"name": account})
            return redirect("account_detail", account.pk)
    context = {"form": form, "account": parent, "above": queries.trail(parent, request.user)}
    return render(request, "accounts/account_create.html", context)


@login_required
@require_http_methods(["GET", "POST"])
def account_edit(request: HttpRequest, account_id: UUID) -> HttpResponse:
    """Change an account's name, contact and address."""
    account = managed_account(request, account_id)
    # The form writes into its instance; what changed is told from the row.
    form = AccountForm(request.POST or None, instance=Account.objects.get(pk=account.pk))
    if request.method == "POST" and form.is_valid():
        operations.update_account(
            account=account, by=request.user, now=clock.now(), **form.cleaned_data
        )
        messages.success(request, _("Saved."))
        return redirect("account_detail", account.pk)
    context = {"form": form, "account": account, "above": queries.trail(account, request.user)}
    return render(request, "accounts/account_edit.html", context)


@login_required
@require_http_methods(["GET", "POST"])
def user_invite(request: HttpRequest, account_id: UUID) -> HttpResponse:
    """Give somebody access to the account: they get a mail and choose a password."""
    account = managed_account(request, account_id)
    initial = {"role": Role.RESIDENT if account.is_customer else Role.VIEWER}
    form = InvitationForm(request.POST or None, account=account, initial=initial)
    if request.method == "POST" and form.is_valid():
        try:
            user = operations.invite_user(
                account=account, by=request.user, now=clock.now(), **form.cleaned_data
            )
        except operations.UnableToCreateUser as error:
            form.add_error("email", str(error))
        else:
            messages.success(
                request, _("An invitation is on its way to %(email)s.") % {"email": user.email}
            )
            return redirect("account_detail", account.pk)
    context = {"form": form, "account": account, "above": queries.trail(account, request.user)}
    return render(request, "accounts/user_invite.html", context)


@login_required
@require_http_methods(["GET", "POST"])
def user_edit(request: HttpRequest, user_id: UUID) -> HttpResponse:
    """Change a user's name, role and contract information."""
    user = managed_user(request, user_id)
    form_class = OwnUserForm if user.pk == request.user.pk else UserForm
    form = form_class(
        request.POST or None, instance=User.objects.get(pk=user.pk), account=user.account
    )
    if request.method == "POST" and form.is_valid():
        values, now = dict(form.cleaned_data), clock.now()
        role = values.pop("role", user.role)
        try:
            operations.update_user(user=user, role=role, by=request.user, now=now, **values)
        except operations.UnableToChangeUser as error:
            form.add_error(None, str(error))
        else:
            messages.success(request, _("Saved."))
            return redirect("account_detail", user.account_id)
    context = {
        "form": form,
        "person": user,
        "account": user.account,
        "above": queries.trail(user.account, request.user),
        "is_self": user.pk == request.user.pk,
    }
    return render(request, "accounts/user_edit.html", context)


@login_required
@require_POST
def user_deactivate(request: HttpRequest, user_id: UUID) -> HttpResponse:
    """End somebody's access, at once."""
    user = managed_user(request, user_id)
    try:
        operations.deactivate_user(user=user, by=request.user, now=clock.now())
    except operations.UnableToChangeUser as error:
        messages.error(request, str(error))
    else:
        messages.success(request, _("%(name)s can no longer sign in.") % {"name": user})
    return redirect("account_detail", user.account_id)


@login_required
@require_POST
def user_reactivate(request: HttpRequest, user_id: UUID) -> HttpResponse:
    """Let somebody in again."""
    user = managed_user(request, user_id)
    operations.reactivate_user(user=user, by=request.user, now=clock.now())
    messages.success(request, _("%(name)s can sign in again.") % {"name": user})
    return redirect("account_detail", user.account_id)


@login_required
@require_POST
def user_invite_again(request: HttpRequest, user_id: UUID) -> HttpResponse:
    """Mail the invitation once more."""
    user = managed_user(request, user_id)
    try:
        operations.invite_again(user=user, by=request.user, now=clock.now())
    except operations.UnableToChangeUser as error:
        messages.error(request, str(error))
    else:
        messages.success(
            request, _("An invitation is on its way to %(email)s.") % {"email": user.email}
        )
    return redirect("account_detail", user.account_id)


@login_required
@require_GET
def audit_log(request: HttpRequest, account_id: UUID) -> HttpResponse:
    """Who changed what in the account's subtree, filtered, page by page."""
    account = managed_account(request, account_id)
    all_entries = queries.audit_entries(account, request.user)
    kinds = queries.audit_kinds()
    form = AuditFilterForm(request.GET, verbs=Verb.choices, kinds=kinds)
    entries: object = AuditEntry.objects.none()
    if form.is_valid():
        wanted = form.cleaned_data
        entries = queries.audit_entries(
            account,
            request.user,
            verb=wanted["verb"],
            kind=wanted["kind"],
            search=wanted["q"],
        )
    page = page_of(entries, request.GET.get("page"))
    context = {
        "account": account,
        "above": queries.trail(account, request.user),
        "form": form,
        "page": page,
        "lines": [queries.audit_line(entry) for entry in page.rows],
        "is_empty": not page.rows and not all_entries.exists(),
    }
    return render_page_or_part(
        request, "accounts/audit_log.html", "accounts/_audit.html", context, target="results"
    )


def _chosen_account(request: HttpRequest, text: str) -> Account | None:
    try:
        chosen = UUID(text)
    except ValueError:
        return None
    return Account.objects.visible_to(request.user).filter(pk=chosen).first()
