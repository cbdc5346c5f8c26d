"""The pages of accounts and users."""

from django.urls import path

from accounts import sign_in, views

urlpatterns = [
    path("sign-in", sign_in.SignIn.as_view(), name="sign_in"),
    path("sign-out", sign_in.SignOut.as_view(), name="sign_out"),
    path("password-reset", sign_in.password_reset, name="password_reset"),
    path("password-reset/sent", sign_in.PasswordResetDone.as_view(), name="password_reset_done"),
    path(
        "password-reset/complete",
        sign_in.PasswordResetComplete.as_view(),
        name="password_reset_complete",
    ),
    path(
        "password-reset/<uidb64>/<token>",
        sign_in.PasswordResetConfirm.as_view(),
        name="password_reset_confirm",
    ),
    path("profile", sign_in.profile, name="profile"),
    path("accounts", views.account_tree, name="account_tree"),
    path("accounts/<uuid:account_id>", views.account_detail, name="account_detail"),
    path("accounts/<uuid:account_id>/node", views.account_node, name="account_node"),
    path("accounts/<uuid:account_id>/edit", views.account_edit, name="account_edit"),
    path("accounts/<uuid:account_id>/new", views.account_create, name="account_create"),
    path("accounts/<uuid:account_id>/customers", views.customer_list, name="customer_list"),
    path("accounts/<uuid:account_id>/audit", views.audit_log, name="audit_log"),
    path("accounts/<uuid:account_id>/invite", views.user_invite, name="user_invite"),
    path("users/<uuid:user_id>", views.user_edit, name="user_edit"),
    path("users/<uuid:user_id>/deactivate", views.user_deactivate, name="user_deactivate"),
    path("users/<uuid:user_id>/reactivate", views.user_reactivate, name="user_reactivate"),
    path("users/<uuid:user_id>/invite", views.user_invite_again, name="user_invite_again"),
]
