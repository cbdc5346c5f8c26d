"""Accounts, customers and users on the wire API. All of it within the caller's sight."""

from django.conf import settings
from django.db.models import QuerySet
from django.db.models.functions import Length
from django.shortcuts import get_object_or_404
from django.utils.translation import get_language_info
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_field
from rest_framework import generics, serializers
from rest_framework.exceptions import NotFound, ValidationError
from rest_framework.request import Request

from accounts.models import Account, User
from accounts.wire import ErrorSerializer, WireSerializer

REFUSALS = {403: ErrorSerializer, 404: ErrorSerializer}
LIST_REFUSALS = {403: ErrorSerializer, 422: ErrorSerializer}
KIND = OpenApiParameter("kind", enum=Account.Kind.values, description="Only accounts of this kind.")
SORTING = [
    OpenApiParameter(
        "sort",
        enum=["name", "email", "createdAt"],
        description="By what to sort; by default the name.",
    ),
    OpenApiParameter("order", enum=["asc", "desc"]),
]


class AddressSerializer(WireSerializer):
    address_line1 = serializers.CharField(required=False)
    city = serializers.CharField(required=False)
    country = serializers.CharField(required=False, help_text="ISO 3166-1, two letters")
    postalcode = serializers.CharField(source="postal_code", required=False)


class AccountSerializer(WireSerializer):
    id = serializers.UUIDField()
    created_at = serializers.DateTimeField()
    updated_at = serializers.DateTimeField()
    name = serializers.CharField()
    email = serializers.EmailField(required=False)
    kind = serializers.ChoiceField(choices=Account.Kind.choices)
    solution = serializers.ChoiceField(choices=Account.Solution.choices)
    parent_id = serializers.UUIDField(required=False)
    main_address = AddressSerializer(source="*", required=False)


class ParentSerializer(WireSerializer):
    account_id = serializers.CharField(source="pk")


class LanguageSerializer(WireSerializer):
    tag = serializers.CharField()
    name = serializers.CharField()
    name_native = serializers.CharField()


@extend_schema_field(LanguageSerializer)
class LanguageField(serializers.ReadOnlyField):
    """A language by its code (`de`) as the wire's object; the default where none was chosen."""

    def to_representation(self, value: str) -> dict:
        info = get_language_info(value or settings.LANGUAGE_CODE)
        return {"tag": info["code"], "name": info["name"], "nameNative": info["name_local"]}


class UserSerializer(WireSerializer):
    id = serializers.UUIDField()
    created_at = serializers.DateTimeField()
    updated_at = serializers.DateTimeField()
    email = serializers.EmailField()
    full_name = serializers.CharField(required=False)
    account_id = serializers.UUIDField(required=False)
    customer_id = serializers.CharField(source="contract_number", required=False)
    meter_id = serializers.CharField(source="meter_number", required=False)
    language = LanguageField()


def asked(request: Request, name: str, choices) -> str | None:
    """A query parameter that is one of `choices`. Raises ValidationError, naming it."""
    value = request.query_params.get(name) or None
    if value is not None and value not in choices:
        raise ValidationError({name: [f"is one of {', '.join(choices)}"]})
    return value


def _of_kind(accounts: QuerySet, request: Request) -> QuerySet:
    kind = asked(request, "kind", Account.Kind.values)
    return accounts.filter(kind=kind) if kind else accounts


def _sorted(rows: QuerySet, request: Request, sort: dict[str, str]) -> QuerySet:
    by = sort[asked(request, "sort", sort) or next(iter(sort))]
    descending = asked(request, "order", ("asc", "desc")) == "desc"
    return rows.order_by(f"-{by}" if descending else by, "pk")


class AccountScope(generics.GenericAPIView):
    """Views below one account, which must be in sight."""

    serializer_class = AccountSerializer

    def visible_accounts(self) -> QuerySet[Account]:
        return Account.objects.visible_to(self.request.user)

    def get_account(self) -> Account:
        return get_object_or_404(self.visible_accounts(), pk=self.kwargs["account_id"])


@extend_schema(tags=["account"], responses={200: AccountSerializer})
class OwnAccount(generics.RetrieveAPIView):
    """The account that the caller is bound to."""

    serializer_class = AccountSerializer

    def get_object(self) -> Account:
        if self.request.user.account is None:
            raise NotFound("You are not bound to an account.")
        return self.request.user.account


@extend_schema(
    tags=["account"],
    parameters=[KIND],
    responses={200: AccountSerializer(many=True), **LIST_REFUSALS},
)
class AccountList(AccountScope, generics.ListAPIView):
    """Every account in the caller's sight, from the top down."""

    def get_queryset(self) -> QuerySet[Account]:
        return _of_kind(self.visible_accounts(), self.request).order_by("path")


@extend_schema(tags=["account"], responses={200: AccountSerializer, **REFUSALS})
class AccountDetail(AccountScope, generics.RetrieveAPIView):
    """One account."""

    def get_object(self) -> Account:
        return self.get_account()


@extend_schema(
    tags=["account"],
    parameters=[KIND],
    responses={200: AccountSerializer(many=True), **REFUSALS, **LIST_REFUSALS},
)
class SubAccountList(AccountScope, generics.ListAPIView):
    """The accounts directly below one."""

    def get_queryset(self) -> QuerySet[Account]:
        children = self.visible_accounts().filter(parent=self.get_account())
        return _of_kind(children, self.request).order_by("name", "pk")


@extend_schema(
    tags=["account"],
    responses={200: ParentSerializer(many=True), **REFUSALS},
)
class ParentAccountList(AccountScope, generics.ListAPIView):
    """The accounts above one, from the nearest up, as far as the caller sees."""

    serializer_class = ParentSerializer
    pagination_class = None

    def get_queryset(self) -> QuerySet[Account]:
        keys = self.get_account().path.split(".")[:-2]
        return self.visible_accounts().filter(key__in=keys).order_by(Length("path").desc())


# Customers: accounts of kind `end-user` --------------------------------------------------------


class CustomerScope(AccountScope):
    def visible_accounts(self) -> QuerySet[Account]:
        return super().visible_accounts().filter(kind=Account.Kind.CUSTOMER)


@extend_schema(
    tags=["customer"],
    parameters=SORTING,
    responses={200: AccountSerializer(many=True), **LIST_REFUSALS},
)
class CustomerList(CustomerScope, generics.ListAPIView):
    """Every customer in the caller's sight."""

    def get_queryset(self) -> QuerySet[Account]:
        sort = {"name": "name", "email": "email", "createdAt": "created_at"}
        return _sorted(self.visible_accounts(), self.request, sort)


@extend_schema(tags=["customer"], responses={200: AccountSerializer, **REFUSALS})
class CustomerDetail(CustomerScope, generics.RetrieveAPIView):
    """One customer."""

    def get_object(self) -> Account:
        return self.get_account()


@extend_schema(
    tags=["customer"],
    parameters=SORTING,
    responses={200: UserSerializer(many=True), **REFUSALS, **LIST_REFUSALS},
)
class CustomerUserList(CustomerScope, generics.ListAPIView):
    """The users who are bound to a customer."""

    serializer_class = UserSerializer

    def get_queryset(self) -> QuerySet[User]:
        users = User.objects.visible_to(self.request.user).filter(account=self.get_account())
        sort = {"name": "full_name", "email": "email", "createdAt": "created_at"}
        return _sorted(users, self.request, sort)


# Users -----------------------------------------------------------------------------------------


@extend_schema(tags=["user"], responses={200: UserSerializer, 403: ErrorSerializer})
class OwnUser(generics.RetrieveAPIView):
    """Who is asking."""

    serializer_class = UserSerializer

    def get_object(self) -> User:
        return self.request.user
