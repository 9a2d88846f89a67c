"""The one settings file. Every difference between machines is a typed environment variable (see docs/running.md).

A value that cannot be read stops the start with its name. Without any variable the portal runs on SQLite in `var/`,
with a secret key that it draws once and keeps there.
"""

import secrets
from pathlib import Path
from typing import Any

import django_stubs_ext
from csp.constants import NONE, SELF
from django.core.exceptions import ImproperlyConfigured
from django.utils.translation import gettext_lazy as _

from centre.environment import Environment

django_stubs_ext.monkeypatch()

BASE_DIR = Path(__file__).resolve().parent.parent
env = Environment()
if (BASE_DIR / ".env").is_file():
    env.read_env(BASE_DIR / ".env")

VAR_DIR = Path(env.str("VAR_DIR", default=str(BASE_DIR / "var")))


def kept_secret_key() -> str:
    """The key of an installation that was given none: drawn once, kept in `var/`, readable by its owner only."""
    kept = VAR_DIR / "secret-key"
    try:
        VAR_DIR.mkdir(parents=True, exist_ok=True)
        try:
            with kept.open("x", encoding="ascii") as new:
                kept.chmod(0o600)
                new.write(secrets.token_urlsafe(64))
        except FileExistsError:
            pass
        return kept.read_text(encoding="ascii").strip()
    except OSError as error:
        message = f"SECRET_KEY is not set and none can be kept in {kept}: {error}. Set SECRET_KEY or VAR_DIR."
        raise ImproperlyConfigured(message) from error


DEBUG = env.yes_or_no("DEBUG", default=False)
SECRET_KEY = env.str("SECRET_KEY", default="") or kept_secret_key()
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=["127.0.0.1", "localhost", "[::1]"])
PUBLIC_URL = env.web_address("PUBLIC_URL", default="http://127.0.0.1:8000")
# How the portal is reached decides what it insists on: an address of https makes cookies secure and redirects to it.
HTTPS = env.yes_or_no("HTTPS", default=PUBLIC_URL.startswith("https://"))
CSRF_TRUSTED_ORIGINS = env.list("CSRF_TRUSTED_ORIGINS", default=[])

INSTALLED_APPS = [
    "centre.apps.PortalAdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "django.contrib.humanize",
    "django_tables2",
    "django_filters",
    "allauth",
    "allauth.account",
    "csp",
    "django_tasks",
    "django_tasks_db",
    "centre.apps.CentreConfig",
    "allocations",
    "subsidies",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.auth.middleware.LoginRequiredMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "centre.http.ActAddressMiddleware",
]

ROOT_URLCONF = "centre.urls"
WSGI_APPLICATION = "centre.wsgi.application"
ASGI_APPLICATION = "centre.asgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.template.context_processors.i18n",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "centre.http.portal",
            ],
        },
    },
]

# ---------------------------------------------------------------------------------------------- database


def databases() -> dict[str, dict[str, Any]]:
    """One database, from DATABASE_URL; SQLite takes its write lock at BEGIN, so that no writer fails half way."""
    default: dict[str, Any] = env.db_url("DATABASE_URL", default=f"sqlite:///{VAR_DIR / 'portal.sqlite3'}")
    if "ENGINE" not in default:
        message = "DATABASE_URL cannot be read; write it like postgres://user:password@host:5432/name."
        raise ImproperlyConfigured(message)
    if default["ENGINE"].endswith("sqlite3"):
        VAR_DIR.mkdir(parents=True, exist_ok=True)
        default["OPTIONS"] = {
            "transaction_mode": "IMMEDIATE",
            "timeout": 20,
            # recursive_triggers: REPLACE asks the triggers that keep history before it removes a row
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA cache_size=-65536; "
            "PRAGMA recursive_triggers=ON",
        }
    else:
        default["OPTIONS"] = {key: value for key, value in default.get("OPTIONS", {}).items() if key != "pool"}
        if env.yes_or_no("DATABASE_POOL", default=False):
            default["OPTIONS"]["pool"] = {"min_size": 1, "max_size": 10}
        else:
            default["CONN_MAX_AGE"] = env.whole("CONN_MAX_AGE", default=60)
            default["CONN_HEALTH_CHECKS"] = True
    return {"default": default}


DATABASES = databases()
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
CACHES = {"default": env.cache_url("CACHE_URL", default="locmemcache://")}
# What is done in the background (`manage.py db_worker`) is kept in the database, so nothing else has to run for it.
TASKS = {"default": {"BACKEND": "django_tasks_db.DatabaseBackend"}}

# ---------------------------------------------------------------------------------------------- usage

USAGE_FILES_DIR = Path(env.str("USAGE_FILES_DIR", default=str(VAR_DIR / "usage")))
USAGE_FILE_LIMIT = env.whole("USAGE_FILE_LIMIT_MB", default=4_000) * 1_000_000

# ---------------------------------------------------------------------------------------------- people

AUTH_USER_MODEL = "centre.User"
AUTHENTICATION_BACKENDS = ["allauth.account.auth_backends.AuthenticationBackend"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.NumericPasswordValidator"},
]
PASSWORD_RESET_TIMEOUT = 60 * 60 * 24 * 7  # a first-sign-in link lives for a week
INVITATION_DAYS = env.days("INVITATION_DAYS", default=14, most=365)  # how long the link into a team works
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "after_sign_in"
LOGOUT_REDIRECT_URL = "front"
ACCOUNT_ADAPTER = "centre.signin.Adapter"
ACCOUNT_USER_MODEL_USERNAME_FIELD = None
ACCOUNT_LOGIN_METHODS = {"email"}
ACCOUNT_SIGNUP_FIELDS = ["email*", "password1*"]
ACCOUNT_EMAIL_VERIFICATION = "none"
ACCOUNT_LOGIN_ON_PASSWORD_RESET = True
ACCOUNT_SESSION_REMEMBER = False
ACCOUNT_EMAIL_SUBJECT_PREFIX = ""
# People are added by the centre; a reset asked for an unknown address writes to nobody.
ACCOUNT_EMAIL_UNKNOWN_ACCOUNTS = False

# ---------------------------------------------------------------------------------------------- letters

EMAIL_BACKEND = env.str("EMAIL_BACKEND", default="django.core.mail.backends.filebased.EmailBackend")
EMAIL_FILE_PATH = VAR_DIR / "letters"
EMAIL_HOST = env.str("EMAIL_HOST", default="localhost")
EMAIL_PORT = env.whole("EMAIL_PORT", default=25)
EMAIL_HOST_USER = env.str("EMAIL_HOST_USER", default="")
EMAIL_HOST_PASSWORD = env.str("EMAIL_HOST_PASSWORD", default="")
EMAIL_TIMEOUT = 15  # seconds; a letter's notices are locked while it is handed over
EMAIL_USE_TLS = env.yes_or_no("EMAIL_USE_TLS", default=False)
DEFAULT_FROM_EMAIL = env.str("DEFAULT_FROM_EMAIL", default="Supercomputing centre <portal@example.org>")

# ---------------------------------------------------------------------------------------------- languages and time

LANGUAGE_CODE = "en"
LANGUAGES = [("en", _("English")), ("zh-hant", _("Traditional Chinese")), ("zh-hans", _("Simplified Chinese"))]
LOCALE_PATHS = [BASE_DIR / "centre" / "locale"]
USE_I18N = True
USE_TZ = True
USE_THOUSAND_SEPARATOR = True
TIME_ZONE = env.str("TIME_ZONE", default="Asia/Hong_Kong")  # of screens; every cluster has its own for accounting

# ---------------------------------------------------------------------------------------------- files

STATIC_URL = "static/"
STATIC_ROOT = VAR_DIR / "static"
WHITENOISE_USE_FINDERS = True
MEDIA_ROOT = VAR_DIR / "files"
FORMAT_MODULE_PATH = ["centre.formats"]
DJANGO_TABLES2_TEMPLATE = "components/table.html"

# ---------------------------------------------------------------------------------------------- safety

SECURE_SSL_REDIRECT = HTTPS and env.yes_or_no("SSL_REDIRECT", default=True)
SECURE_HSTS_SECONDS = 31_536_000 if HTTPS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = HTTPS
SECURE_HSTS_PRELOAD = HTTPS
SECURE_REFERRER_POLICY = "same-origin"
SESSION_COOKIE_SECURE = HTTPS
CSRF_COOKIE_SECURE = HTTPS
SESSION_COOKIE_HTTPONLY = True
CSRF_COOKIE_HTTPONLY = True
SESSION_COOKIE_AGE = 60 * 60 * 12
X_FRAME_OPTIONS = "DENY"
if env.yes_or_no("BEHIND_PROXY", default=False):
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [NONE],
        "script-src": [SELF],
        "style-src": [SELF],
        "img-src": [SELF, "data:"],
        "font-src": [SELF],
        "connect-src": [SELF],
        "form-action": [SELF],
        "base-uri": [NONE],
        "frame-ancestors": [NONE],
    },
}

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s %(message)s"}},
    "filters": {"private_links": {"()": "centre.private_links.WithoutPrivateLinks"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line", "filters": ["private_links"]}},
    "root": {"handlers": ["console"], "level": env.str("LOG_LEVEL", default="WARNING")},
}
