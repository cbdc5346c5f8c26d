"""The letters: what is mailed to people, in their language.

The outbox keeps only which letter to whom. Text and link are made when the letter leaves, so a
link that sets a password never lies in the database.
"""

from urllib.parse import urlsplit

from django.conf import settings
from django.contrib.auth.tokens import default_token_generator
from django.core.mail import EmailMessage, get_connection
from django.template.loader import render_to_string
from django.utils import translation
from django.utils.encoding import force_bytes
from django.utils.http import urlsafe_base64_encode
from django.utils.translation import gettext as _

from accounts.models import OutboxMessage, User

KIND = "mail"
PASSWORD_RESET = "password_reset"  # noqa: S105 - the name of a letter
INVITATION = "invitation"
# Shorter than the outbox's lease, so that no other worker sends the same meanwhile.
SERVER_WAITS_S = 20


def send_letter(message: OutboxMessage) -> str:
    """Send the letter that the payload `{"letter": …, "email": …}` names; returns a remark.

    A reset is asked for by anybody for any address, and saved all the same, so that asking takes
    as long and does as much whether the address is known or not; here it ends. Raises what the
    mail server says.
    """
    letter, email = message.payload["letter"], message.payload["email"]
    user = User.objects.filter(email__iexact=email, is_active=True).first()
    if user is None:
        return _("Nobody active signs in with this address; nothing was sent.")
    site = urlsplit(settings.PUBLIC_URL)
    # Host and scheme are ours to say: a request's Host header could name another's site.
    content = {
        "user": user,
        "uid": urlsafe_base64_encode(force_bytes(user.pk)),
        "token": default_token_generator.make_token(user),
        "protocol": site.scheme,
        "domain": site.netloc,
    }
    with translation.override(user.language or settings.LANGUAGE_CODE):
        subject = render_to_string(f"accounts/{letter}_subject.txt", content)
        body = render_to_string(f"accounts/{letter}_email.txt", content)
    with get_connection(timeout=SERVER_WAITS_S) as server:
        server.send_messages([EmailMessage(" ".join(subject.split()), body, to=[user.email])])
    return ""
