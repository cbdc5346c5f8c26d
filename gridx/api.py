"""The whole API, under `/api`: no trailing slashes, no redirects; every address has a name."""

from django.urls import path, re_path

from accounts import api as accounts
from accounts.oauth_api import TokenView
from gridx.api_errors import not_found

urlpatterns = [
    path("oauth/token", TokenView.as_view(), name="api_token"),
    path("user", accounts.OwnUser.as_view(), name="api_user"),
    path("account", accounts.OwnAccount.as_view(), name="api_own_account"),
    path("accounts", accounts.AccountList.as_view(), name="api_accounts"),
    path("accounts/<uuid:account_id>", accounts.AccountDetail.as_view(), name="api_account"),
    path(
        "accounts/<uuid:account_id>/accounts",
        accounts.SubAccountList.as_view(),
        name="api_sub_accounts",
    ),
    path(
        "accounts/<uuid:account_id>/parents",
        accounts.ParentAccountList.as_view(),
        name="api_account_parents",
    ),
    path("customers", accounts.CustomerList.as_view(), name="api_customers"),
    path("customers/<uuid:account_id>", accounts.CustomerDetail.as_view(), name="api_customer"),
    path(
        "customers/<uuid:account_id>/users",
        accounts.CustomerUserList.as_view(),
        name="api_customer_users",
    ),
    re_path(r"^(?:.*)$", not_found, name="api_not_found"),
]
