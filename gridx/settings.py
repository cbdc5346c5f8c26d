"""The one settings file: everything that differs between installations comes from the environment.

Without any, it is a development installation on the embedded services (`gridx.services`).
"""

import os
from datetime import timedelta
from pathlib import Path
from urllib.parse import unquote, urlsplit

from csp.constants import NONE, SELF, UNSAFE_INLINE
from django.utils.translation import gettext_lazy as _

from flexibility.dimming.rules import BK6_22_300
from gridx import services
from gridx.gateways.messages import MESSAGES_A_MINUTE


def _flag(name: str, default: bool) -> bool:
    value = os.environ.get(name)
    return default if value is None else value.lower() in {"1", "true", "yes", "on"}


def _words(name: str, default: str = "") -> list[str]:
    return os.environ.get(name, default).replace(",", " ").split()


BASE_DIR = Path(__file__).resolve().parent.parent
ADDRESSES = services.addresses()

PRODUCTION = _flag("GRIDX_PRODUCTION", False)
DEBUG = _flag("GRIDX_DEBUG", False)
SECRET_KEY = ADDRESSES.secret_key
ALLOWED_HOSTS = _words("GRIDX_HOSTS", "localhost 127.0.0.1 [::1] testserver")
CSRF_TRUSTED_ORIGINS = _words("GRIDX_ORIGINS")
# Where people and gateways reach this installation; mails and the registration page name it.
PUBLIC_URL = os.environ.get("GRIDX_PUBLIC_URL", "http://127.0.0.1:8000")
PUBLIC_MQTT_URL = os.environ.get("GRIDX_PUBLIC_MQTT_URL", ADDRESSES.mqtt_url)

INSTALLED_APPS = [
    "gridx",
    "flexibility",
    "measurements",
    "inventory",
    "accounts",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.humanize",
    "django.contrib.messages",
    "django.contrib.postgres",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "django.forms",
    "channels",
    "csp",
    "django_htmx",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "oauth2_provider",
    "rest_framework",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "csp.middleware.CSPMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
]

ROOT_URLCONF = "gridx.urls"
ASGI_APPLICATION = "gridx.asgi.application"
WSGI_APPLICATION = "gridx.wsgi.application"
APPEND_SLASH = False

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "gridx.pages.navigation.navigation",
            ],
        },
    }
]

FORM_RENDERER = "django.forms.renderers.TemplatesSetting"

# Data ------------------------------------------------------------------------------------------


DATABASE_POOL = int(os.environ.get("GRIDX_DATABASE_POOL", "0"))
_POOL = {"min_size": 1, "timeout": 10}


def _database(url: str) -> dict:
    parts = urlsplit(url)
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": unquote(parts.path.lstrip("/")),
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": unquote(parts.hostname or ""),
        "PORT": str(parts.port or ""),
        "CONN_HEALTH_CHECKS": True,
        "CONN_MAX_AGE": 0 if DATABASE_POOL else 60,
        "OPTIONS": {
            # Allows prepared statements, whose plans are kept; `measurements.numbers` has some,
            # Django's cursors none.
            "prepare_threshold": 0,
            "options": "-c plan_cache_mode=force_generic_plan",
            # For ASGI servers, where every request runs in a thread of its own; nothing that forks.
            **({"pool": _POOL | {"max_size": DATABASE_POOL}} if DATABASE_POOL else {}),
        },
    }


DATABASES = {"default": _database(ADDRESSES.database_url)}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": ADDRESSES.valkey_url,
        "KEY_PREFIX": "cache",
    }
}

CHANNEL_LAYERS = {
    "default": {
        "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
        "CONFIG": {"hosts": [ADDRESSES.valkey_url]},
    }
}

CELERY_BROKER_URL = ADDRESSES.valkey_url
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_TIMEZONE = "UTC"

# Gateways --------------------------------------------------------------------------------------

# What one of them may send before it is cut off for a while, as the protocol says; a longer message
# counts as several.
GATEWAY_MESSAGES_A_MINUTE = int(
    os.environ.get("GRIDX_GATEWAY_MESSAGES_A_MINUTE", str(MESSAGES_A_MINUTE))
)

# Measurements ----------------------------------------------------------------------------------

# How long raw readings are kept; slots are kept for good.
RAW_RETENTION = timedelta(days=int(os.environ.get("GRIDX_RAW_RETENTION_DAYS", "90")))
# So late may gateways deliver, so that no less makes sense.
LEAST_RAW_RETENTION = timedelta(days=7)
# How large a file of recorded readings may be that is uploaded on a page.
MOST_UPLOADED_MB = int(os.environ.get("GRIDX_MOST_UPLOADED_MB", "256"))

# Flexibility -----------------------------------------------------------------------------------

# Who wins: of each kind of emitter the default and the greatest priority. Physics always does.
CONSTRAINT_PRIORITIES = {
    "fuse": (1_000_000, 1_999_999),
    "grid_operator": (100_000, 999_999),
    "operator": (50_000, 99_999),
    "account_user": (3_000, 9_999),
    "local_user": (2_000, 2_999),
    "charging_policy": (1_000, 9_999),
}
# What a grid operator's dimming leaves (§ 14a EnWG).
DIMMING_RULES = BK6_22_300
# What consumers keep to when their gateway has no valid schedule any more, and for how long.
FAIL_SAFE_MAX_W = 4_200
FAIL_SAFE_MINIMUM = timedelta(hours=2)

# People ----------------------------------------------------------------------------------------

AUTH_USER_MODEL = "accounts.User"
LOGIN_URL = "sign_in"
LOGIN_REDIRECT_URL = "home"
LOGOUT_REDIRECT_URL = "sign_in"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {
        "NAME": "django.contrib.auth.password_validation.MinimumLengthValidator",
        "OPTIONS": {"min_length": 10},
    },
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
SESSION_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = PRODUCTION

EMAIL_BACKEND = os.environ.get(
    "GRIDX_EMAIL_BACKEND", "django.core.mail.backends.console.EmailBackend"
)
EMAIL_HOST = os.environ.get("GRIDX_EMAIL_HOST", "localhost")
EMAIL_PORT = int(os.environ.get("GRIDX_EMAIL_PORT", "25"))
EMAIL_HOST_USER = os.environ.get("GRIDX_EMAIL_USER", "")
EMAIL_HOST_PASSWORD = os.environ.get("GRIDX_EMAIL_PASSWORD", "")
EMAIL_USE_TLS = _flag("GRIDX_EMAIL_TLS", False)
DEFAULT_FROM_EMAIL = os.environ.get("GRIDX_EMAIL_FROM", "gridx <no-reply@gridx.example>")

LANGUAGE_CODE = "en"
LANGUAGES = [("en", _("English")), ("de", _("German"))]
LOCALE_PATHS = [BASE_DIR / "gridx" / "locale"]
FORMAT_MODULE_PATH = "gridx.formats"
TIME_ZONE = "UTC"
USE_TZ = True

# Web -------------------------------------------------------------------------------------------

# Compressed, with names that say their content, after `collectstatic`; else as they lie there.
COLLECTED_STATIC = _flag("GRIDX_COLLECTED_STATIC", PRODUCTION)
STATIC_URL = "static/"
STATIC_ROOT = services.data_directory() / "static"
STATICFILES_DIRS = [BASE_DIR / "static"]
WHITENOISE_USE_FINDERS = WHITENOISE_AUTOREFRESH = not COLLECTED_STATIC
WHITENOISE_MAX_AGE = 60
WHITENOISE_KEEP_ONLY_HASHED_FILES = True
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    # Recorded readings that were uploaded, until workers have read them: never served.
    "recordings": {
        "BACKEND": "django.core.files.storage.FileSystemStorage",
        "OPTIONS": {
            "location": os.environ.get("GRIDX_UPLOADS_DIR")
            or services.data_directory() / "uploads",
            "file_permissions_mode": 0o600,
            "directory_permissions_mode": 0o700,
        },
    },
    "staticfiles": {
        "BACKEND": (
            "whitenoise.storage.CompressedManifestStaticFilesStorage"
            if COLLECTED_STATIC
            else "django.contrib.staticfiles.storage.StaticFilesStorage"
        )
    },
}

CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [NONE],
        "script-src": [SELF],
        # plotly sets styles on what it draws
        "style-src": [SELF, UNSAFE_INLINE],
        "img-src": [SELF, "data:"],
        "font-src": [SELF],
        "connect-src": [SELF],
        "form-action": [SELF],
        "frame-ancestors": [NONE],
        "base-uri": [SELF],
        "manifest-src": [SELF],
    }
}
SECURE_SSL_REDIRECT = PRODUCTION
SECURE_HSTS_SECONDS = 31_536_000 if PRODUCTION else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = PRODUCTION
SECURE_HSTS_PRELOAD = PRODUCTION
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if PRODUCTION else None
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"

# API -------------------------------------------------------------------------------------------

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "accounts.authentication.BearerAuthentication",
        "rest_framework.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_PARSER_CLASSES": ["gridx.api_formats.NumbersParser"],
    "DEFAULT_RENDERER_CLASSES": ["gridx.api_formats.OrjsonRenderer"],
    "DEFAULT_CONTENT_NEGOTIATION_CLASS": "gridx.api_formats.FirstUnlessAskedOtherwise",
    "DEFAULT_PAGINATION_CLASS": "gridx.api_formats.WirePagination",
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "gridx.api_errors.answer_exception",
    # `/api/schema` describes the API; what OPTIONS tells by default is half of it, by other means.
    "DEFAULT_METADATA_CLASS": None,
    "TEST_REQUEST_DEFAULT_FORMAT": "json",
    # How many proxies of our own stand in front, so that a client's address is not its own claim.
    "NUM_PROXIES": int(os.environ.get("GRIDX_PROXIES", "0")),
    "UNAUTHENTICATED_USER": "django.contrib.auth.models.AnonymousUser",
}
SPECTACULAR_SETTINGS = {
    "TITLE": "gridx",
    "VERSION": "0.1.0",
    "OAS_VERSION": "3.1.0",
    "SERVE_INCLUDE_SCHEMA": False,
    "SCHEMA_PATH_PREFIX": "/api",
    "SCHEMA_PATH_PREFIX_TRIM": True,
    "SERVERS": [{"url": "/api"}],
    "COMPONENT_SPLIT_REQUEST": False,
    "SORT_OPERATIONS": False,
    "ENUM_NAME_OVERRIDES": {
        "GatewayStateEnum": "inventory.wire_schema.GATEWAY_STATES",
        "ApplianceStateEnum": "inventory.wire_schema.APPLIANCE_STATES",
        "ApplianceStatusEnum": "inventory.models.Appliance.Status",
        "OutcomeEnum": "flexibility.wire.OUTCOMES",
        "EmitterKindEnum": "flexibility.wire.EMITTER_KINDS",
        "ConstraintStateEnum": "flexibility.wire.STATES",
        "DeliveryEnum": "flexibility.wire.DELIVERIES",
        "DimmingModeEnum": "flexibility.dimming.api.MODES",
        "ShareReasonEnum": "flexibility.limits.api.WHYS",
        "ChargingModeEnum": "flexibility.policies.wire.MODES",
    },
    "DESCRIPTION": (
        "Accounts, systems, gateways and appliances, with what they measure and what is asked of"
        " them. Lists are bare arrays in pages (`page`, `per_page`; headers `Link` and"
        " `X-Total-Count`). What is out of your sight is 404, what you may not do 403; a request"
        " that does not fit is 422, with details that begin with the name of the field."
    ),
    "SERVE_PERMISSIONS": ["rest_framework.permissions.AllowAny"],
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "SWAGGER_UI_SETTINGS": {"deepLinking": True, "defaultModelsExpandDepth": 0},
}

# Client ids that may ask for tokens; any, when empty. They are public and identify nobody.
OAUTH_CLIENTS = _words("GRIDX_OAUTH_CLIENTS")
# What clients of the wire API call the API in `audience`; the first is meant where none is named.
OAUTH_AUDIENCES = _words("GRIDX_OAUTH_AUDIENCES", "https://api.gridx.de my.gridx")
OAUTH2_PROVIDER = {
    "OAUTH2_SERVER_CLASS": "accounts.oauth.TokenServer",
    "OAUTH2_BACKEND_CLASS": "accounts.oauth.OAuthCore",
    "OAUTH2_VALIDATOR_CLASS": "accounts.oauth.TokenValidator",
    "ACCESS_TOKEN_EXPIRE_SECONDS": 86_400,
    # A refresh token that nobody used for 30 days after its access token ended is over.
    "REFRESH_TOKEN_EXPIRE_SECONDS": 30 * 86_400,
    "ROTATE_REFRESH_TOKEN": True,
    "REFRESH_TOKEN_REUSE_PROTECTION": True,
    "REFRESH_TOKEN_GRACE_PERIOD_SECONDS": 0,
    # Only checksums of tokens are kept. (The other gates are about grants that are not served.)
    "COMPLIANT_BCP_RFC9700_TOKEN_STORAGE": True,
    "COMPLIANT_BCP_RFC9700_REFRESH_TOKEN": True,
    "COMPLIANT_BCP_RFC9700_IMPLICIT_GRANT": True,
    "COMPLIANT_BCP_RFC9700_ACCESS_TOKEN_TRANSPORT": True,
}

# Logs ------------------------------------------------------------------------------------------

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "line": {"format": "%(asctime)s %(levelname)s %(name)s: %(message)s"},
    },
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["console"], "level": os.environ.get("GRIDX_LOG_LEVEL", "INFO")},
}
