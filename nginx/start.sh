#!/bin/sh
# Runs nginx with the configuration beside this file, with TLS as soon as there is a certificate. See README.md.
#
#   start.sh            write the configuration, run nginx, follow the certificate
#   start.sh --test     write the configuration and have nginx check it
set -eu

here=$(cd "$(dirname "$0")" && pwd)
: "${HTTP_PORT:=8080}" "${HTTPS_PORT:=8443}" "${PUBLIC_HOST:=}" "${MAX_FILE_SIZE_MB:=500}"
: "${API_UPSTREAM:=127.0.0.1:8000}" "${UI_UPSTREAM:=127.0.0.1:8501}"
: "${TLS_CERTIFICATE:=/etc/nginx/tls/fullchain.pem}" "${TLS_KEY:=/etc/nginx/tls/privkey.pem}"
: "${TLS_PROTOCOLS:=TLSv1.3}" "${TLS_CHECK_S:=60}" "${ACME_DIR:=/var/www/acme}"
: "${NGINX_RUN_DIR:=/tmp/nginx}" "${NGINX_MODULES:=/usr/lib/nginx/modules}"

nginx=$(PATH="$PATH:/usr/sbin" command -v nginx) || { echo "there is no nginx here" >&2; exit 2; }
version=$("$nginx" -v 2>&1 | sed 's|.*nginx/\([0-9.]*\).*|\1|')

stop() {
    echo "the proxy cannot start: $1" >&2
    exit 2
}

at_least() { [ "$(printf '%s\n' "$1" "$version" | sort -V | head -n 1)" = "$1" ]; }

has_certificate() { [ -s "$TLS_CERTIFICATE" ] && [ -s "$TLS_KEY" ]; }

# Recordings and stems are compressed already, and event streams must flow at once.
COMPRESSED='application/json application/problem+json application/javascript text/javascript text/css'
COMPRESSED="$COMPRESSED text/plain image/svg+xml"

# ---- the configuration ----------------------------------------------------------------------------------------

nameservers() { # an address of IPv6 goes in brackets
    sed -n 's/^nameserver[[:space:]]\{1,\}\([^[:space:]]*\).*/\1/p' /etc/resolv.conf 2>/dev/null |
        sed 's/.*:.*/[&]/' | tr '\n' ' '
}

listen() { # ADDRESS OPTIONS: a mere port is listened on by IPv6 too, where there is any
    printf 'listen %s%s;' "$1" "$2"
    case $1 in *[!0-9]*) return ;; esac
    [ ! -s /proc/net/if_inet6 ] || printf '\n    listen [::]:%s%s;' "$1" "$2"
}

servers() { # "a:1,b:2" as lines of an upstream
    for server in $(printf '%s' "$1" | tr ',' ' '); do
        case $server in
        *[!A-Za-z0-9._:\[\]-]* | *: | :*) stop "$server is no host and port" ;;
        esac
        printf '        server %s max_fails=3 fail_timeout=5s%s;\n' "$server" "$resolve"
    done
}

check() { "$nginx" -t "$@" -p "$NGINX_RUN_DIR" -c "$NGINX_RUN_DIR/conf/nginx.conf" -e stderr; }

loads() { # MODULE: whether it is there and was built for this nginx
    [ -r "$1" ] || return 1
    printf 'load_module %s;\npid %s/trial.pid;\nevents {}\n' "$1" "$NGINX_RUN_DIR" >"$conf/trial.conf"
    "$nginx" -t -q -p "$NGINX_RUN_DIR" -c "$conf/trial.conf" -e /dev/null 2>/dev/null
}

configure() {
    conf=$NGINX_RUN_DIR/conf
    mkdir -p "$conf"
    case $MAX_FILE_SIZE_MB in '' | *[!0-9]*) stop "MAX_FILE_SIZE_MB=$MAX_FILE_SIZE_MB is no number" ;; esac
    # The form around a recording, and its other fields.
    MAX_BODY_MB=$((MAX_FILE_SIZE_MB + 1))
    # Addresses of containers change: where nginx can, it asks again.
    resolve='' RESOLVER=''
    if at_least 1.27.3 && [ -n "$(nameservers)" ]; then
        resolve=' resolve' RESOLVER="resolver $(nameservers)valid=10s;"
    fi
    API_SERVERS=$(servers "$API_UPSTREAM") || exit 2
    UI_SERVERS=$(servers "$UI_UPSTREAM") || exit 2
    HTTP_LISTEN=$(listen "$HTTP_PORT" ' default_server')
    if at_least 1.25.1; then
        HTTPS_LISTEN=$(listen "$HTTPS_PORT" ' ssl default_server') HTTP2='http2 on;'
    else
        HTTPS_LISTEN=$(listen "$HTTPS_PORT" ' ssl http2 default_server') HTTP2=''
    fi
    # Without a name every host is served: for trying it out.
    HOST_NAME=${PUBLIC_HOST%%:*}
    case $HOST_NAME in
    '') SERVED='default 1;' ;;
    localhost | 127.0.0.1) SERVED='default 0;' ;;
    *) SERVED="$HOST_NAME 1; default 0;" ;;
    esac
    # Debian: libnginx-mod-http-brotli-filter.
    BROTLI='' LOAD_MODULES=''
    if loads "$NGINX_MODULES/ngx_http_brotli_filter_module.so"; then
        LOAD_MODULES="load_module $NGINX_MODULES/ngx_http_brotli_filter_module.so;"
        BROTLI="brotli on; brotli_comp_level 5; brotli_min_length 1024; brotli_types $COMPRESSED;"
    fi
    if has_certificate; then
        [ -n "$PUBLIC_HOST" ] || stop "PUBLIC_HOST must say which name the certificate is for"
        LISTEN=tls
    else
        LISTEN=plain
    fi
    export HTTP_LISTEN HTTPS_LISTEN HTTP2 PUBLIC_HOST SERVED API_SERVERS UI_SERVERS RESOLVER
    export TLS_CERTIFICATE TLS_KEY TLS_PROTOCOLS ACME_DIR NGINX_RUN_DIR MAX_BODY_MB
    export LOAD_MODULES BROTLI COMPRESSED LISTEN
    # nginx has variables of its own: only these are filled in.
    names=$(cat "$here"/*.template | grep -o '\${[A-Z_0-9]*}' | sort -u | tr '\n' ' ')
    for template in "$here"/*.conf.template; do
        envsubst "$names" <"$template" >"$conf/$(basename "$template" .template)"
    done
}

configure
if [ "${1:-}" = --test ]; then
    check
    exit
fi

# ---- running --------------------------------------------------------------------------------------------------

certificate() { cat "$TLS_CERTIFICATE" "$TLS_KEY" 2>/dev/null | cksum; }

follow() {
    known=$(certificate)
    while sleep "$TLS_CHECK_S"; do
        now=$(certificate)
        # A certificate and a key that do not belong together, half-way through a renewal, wait for the next look.
        if [ "$now" != "$known" ] && configure && check -q; then
            known=$now
            echo "the certificate has changed: nginx reads it" >&2
            kill -HUP "$pid"
        fi
    done
}

[ "$LISTEN" = tls ] || echo "no certificate at $TLS_CERTIFICATE: plain HTTP, until there is one" >&2
(exec "$nginx" -p "$NGINX_RUN_DIR" -c "$NGINX_RUN_DIR/conf/nginx.conf" -e stderr -g 'daemon off;') & # its own process id
pid=$!
follow &
follower=$!
trap 'kill -QUIT "$pid"' QUIT # lets requests end
trap 'kill -TERM "$pid"' TERM INT
code=0
wait "$pid" || code=$?
while kill -0 "$pid" 2>/dev/null; do # It was a signal that ended the wait.
    code=0
    wait "$pid" || code=$?
done
kill "$follower" 2>/dev/null || true
exit "$code"
