"""Sign in and out, choose a new password, and one's own profile."""

from django.conf import settings
from django.contrib import messages
from django.contrib.auth import views as auth_views
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import translation
from django.utils.http import urlencode
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods

from accounts import operations
from accounts.forms import PasswordResetForm, ProfileForm, SignInForm, network_address
from accounts.models import User
from gridx import clock


class SignIn(auth_views.LoginView):
    """E-mail and password, then on to where the visitor wanted to go."""

    template_name = "accounts/sign_in.html"
    authentication_form = SignInForm
    redirect_authenticated_user = True

    def form_valid(self, form: SignInForm) -> HttpResponse:
        response = super().form_valid(form)
        return with_language(response, form.get_user().language)


class SignOut(auth_views.LogoutView):
    """Ends the session; POST only."""


@require_http_methods(["GET", "POST"])
def password_reset(request: HttpRequest) -> HttpResponse:
    """Ask for a link by mail; what follows does not tell whether the address is known."""
    form = PasswordResetForm(request.POST or None, address=network_address(request))
    if request.method == "POST" and form.is_valid():
        operations.request_password_reset(email=form.cleaned_data["email"], now=clock.now())
        return redirect("password_reset_done")
    return render(request, "accounts/password_reset.html", {"form": form})


class PasswordResetDone(auth_views.PasswordResetDoneView):
    template_name = "accounts/password_reset_done.html"


class PasswordResetConfirm(auth_views.PasswordResetConfirmView):
    """The link of the mail: choose a password. It ends every session that there was."""

    template_name = "accounts/password_reset_confirm.html"


class PasswordResetComplete(auth_views.PasswordResetCompleteView):
    template_name = "accounts/password_reset_complete.html"


@login_required
@require_http_methods(["GET", "POST"])
def profile(request: HttpRequest) -> HttpResponse:
    """One's own name, phone and language."""
    user = User.objects.select_related("account").get(pk=request.user.pk)
    form = ProfileForm(request.POST or None, instance=User.objects.get(pk=user.pk))
    if request.method == "POST" and form.is_valid():
        operations.update_user(user=user, by=user, now=clock.now(), **form.cleaned_data)
        with translation.override(user.language or translation.get_language()):
            messages.success(request, _("Saved."))
        return with_language(redirect("profile"), user.language)
    return render(request, "accounts/profile.html", {"form": form, "person": user})


def admin_sign_in(request: HttpRequest) -> HttpResponse:
    """The admin's sign-in is the site's; who is signed in and not staff is refused."""
    if request.user.is_authenticated:
        if not request.user.is_staff:
            raise PermissionDenied
        return redirect("admin:index")
    wanted = request.GET.get("next") or reverse("admin:index")
    return redirect(f"{reverse('sign_in')}?{urlencode({'next': wanted})}")


def with_language(response: HttpResponse, language: str) -> HttpResponse:
    """Remember the user's language in this browser, where `LocaleMiddleware` looks for it.

    Who never chose one keeps that of the page where they signed in.
    """
    if language:
        response.set_cookie(
            settings.LANGUAGE_COOKIE_NAME,
            language,
            max_age=365 * 24 * 3600,
            secure=settings.SESSION_COOKIE_SECURE,
            samesite="Lax",
        )
    return response
