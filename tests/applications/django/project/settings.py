"""Settings behind spothost, as docs/applications.md recommends them."""

import os
from pathlib import Path

SECRET_KEY = os.environ.get("SECRET_KEY", "for tests alone")
DEBUG = False
ALLOWED_HOSTS = ["localhost"]

# spothost alone sets this field, and drops it from visitors' requests.
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
# Forms are sent from here: scheme, name, and the port if it is not the scheme's own.
CSRF_TRUSTED_ORIGINS = os.environ.get("ORIGINS", "https://localhost:8443").split()
SESSION_COOKIE_SECURE = True
CSRF_COOKIE_SECURE = True

STATE = Path(os.environ.get("STATE", Path(__file__).resolve().parent.parent))
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": STATE / "db.sqlite3"}}
INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [Path(__file__).resolve().parent],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
ROOT_URLCONF = "project.urls"
WSGI_APPLICATION = "project.wsgi.application"
STATIC_URL = "/static/"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
