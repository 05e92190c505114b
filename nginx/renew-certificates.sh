#!/bin/sh
# Gets the certificate of PUBLIC_HOST, or renews it once it is due, and puts it where nginx looks for it. Once a day
# is often enough; run it as often as you like: what is good and new enough stays, and then nothing happens.
#
# Variables:
#   PUBLIC_HOST   name of the certificate; a port after it does not count
#   ACME_EMAIL    whom the authority may write to; without it nobody is told
#   ACME_SERVER   directory of another authority than Let's Encrypt, such as its staging one
#   ACME_DIR      folder that nginx shows as /.well-known/acme-challenge/ (/var/www/acme)
#   TLS_DIR       where fullchain.pem and privkey.pem go (/etc/nginx/tls)
#   CERTBOT_DIR   certbot's own memory: account, certificates (/etc/letsencrypt)
#   RELOAD        run when they have changed; not needed where start.sh runs nginx, which sees it by itself
set -eu

: "${PUBLIC_HOST:?must say for which name}" "${ACME_EMAIL:=}" "${ACME_SERVER:=}" "${ACME_DIR:=/var/www/acme}"
: "${TLS_DIR:=/etc/nginx/tls}" "${CERTBOT_DIR:=/etc/letsencrypt}" "${RELOAD:=}"
name=${PUBLIC_HOST%%:*}

set -- --non-interactive --agree-tos --webroot --webroot-path "$ACME_DIR" --domain "$name" --cert-name "$name"
set -- "$@" --keep-until-expiring --key-type ecdsa
set -- "$@" --config-dir "$CERTBOT_DIR" --work-dir "$CERTBOT_DIR/work" --logs-dir "$CERTBOT_DIR/logs"
if [ -n "$ACME_EMAIL" ]; then set -- "$@" --email "$ACME_EMAIL"; else set -- "$@" --register-unsafely-without-email; fi
[ -z "$ACME_SERVER" ] || set -- "$@" --server "$ACME_SERVER"
certbot certonly "$@"

live=$CERTBOT_DIR/live/$name
if cmp -s "$live/fullchain.pem" "$TLS_DIR/fullchain.pem" && cmp -s "$live/privkey.pem" "$TLS_DIR/privkey.pem"; then
    exit 0
fi
umask 077
mkdir -p "$TLS_DIR"
# The key belongs to whoever owns the folder: nginx, where that does not run as root.
owner=$(stat -c %u:%g "$TLS_DIR")
for file in privkey.pem fullchain.pem; do # each at once, the certificate last
    cp "$live/$file" "$TLS_DIR/.$file.new"
    [ "$(id -u)" -ne 0 ] || chown "$owner" "$TLS_DIR/.$file.new"
    mv "$TLS_DIR/.$file.new" "$TLS_DIR/$file"
done
echo "a new certificate of $name is in $TLS_DIR"
[ -z "$RELOAD" ] || sh -c "$RELOAD"
