//! What libraries call their functions, where a program has these in itself and no line tables tell whose they are: of C by
//! how names begin, of C++ by namespaces, of Rust by crates. Short lists of what makes connections for applications. Pure.

/// The library of C that a function is of.
pub(super) fn of_c(name: &str) -> Option<&'static str> {
    /// How names begin, and the library.
    const BEGINNINGS: [(&str, &str); 47] = [
        ("BIO_", "OpenSSL"),
        ("Curl_", "libcurl"),
        ("MHD_", "libmicrohttpd"),
        ("MQTTAsync_", "Paho"),
        ("MQTTClient_", "Paho"),
        ("OSSL_", "OpenSSL"),
        ("PQconnect", "libpq"),
        ("PQping", "libpq"),
        ("PQreset", "libpq"),
        ("SSL_", "OpenSSL"),
        ("_redisContext", "hiredis"),
        ("amqp_", "rabbitmq-c"),
        ("ares_", "c-ares"),
        ("bufferevent_", "libevent"),
        ("connectDBComplete", "libpq"),
        ("connectDBStart", "libpq"),
        ("curl_easy_", "libcurl"),
        ("curl_multi_", "libcurl"),
        ("evconnlistener_", "libevent"),
        ("event_base_", "libevent"),
        ("evhttp_", "libevent"),
        ("evutil_", "libevent"),
        ("g_socket_", "GIO"),
        ("gnutls_", "GnuTLS"),
        ("grpc_", "gRPC"),
        ("ldap_", "OpenLDAP"),
        ("libssh2_", "libssh2"),
        ("lws_", "libwebsockets"),
        ("ma_pvio_", "MariaDB"),
        ("mbedtls_", "Mbed TLS"),
        ("memcached_", "libmemcached"),
        ("mongoc_", "libmongoc"),
        ("mosquitto_", "Mosquitto"),
        ("mysql_", "MySQL"),
        ("nghttp2_", "nghttp2"),
        ("pqSocket", "libpq"),
        ("pvio_socket_", "MariaDB"),
        ("rd_kafka_", "librdkafka"),
        ("redisAsyncConnect", "hiredis"),
        ("redisConnect", "hiredis"),
        ("redisContextConnect", "hiredis"),
        ("redisReconnect", "hiredis"),
        ("uv__", "libuv"),
        ("uv_tcp_", "libuv"),
        ("vio_socket_", "MySQL"),
        ("wolfSSL_", "wolfSSL"),
        ("zmq_", "ZeroMQ"),
    ];
    /// Whole names: of what OpenSSL does not export, and of OCaml's library in C until OCaml 5.
    const NAMES: [(&str, &str); 4] = [
        ("conn_ctrl", "OpenSSL"),
        ("conn_state", "OpenSSL"),
        ("unix_accept", "Unix"),
        ("unix_connect", "Unix"),
    ];
    if let Some((_, library)) = NAMES.iter().find(|(known, _)| *known == name) {
        return Some(library);
    }
    BEGINNINGS.iter().find(|(beginning, _)| name.starts_with(beginning)).map(|(_, library)| *library)
}

/// Whether a namespace of C++ is a library's.
pub(super) fn has_namespace(name: &str) -> bool {
    const NAMESPACES: [&str; 27] = [
        "AMQP",
        "Pistache",
        "Poco",
        "absl",
        "asio",
        "boost",
        "cpprest",
        "cpr",
        "drogon",
        "folly",
        "grpc",
        "grpc_core",
        "grpc_event_engine",
        "httplib",
        "ix",
        "mongocxx",
        "oatpp",
        "pplx",
        "pqxx",
        "proxygen",
        "restinio",
        "seastar",
        "trantor",
        "uWS",
        "wangle",
        "websocketpp",
        "zmq",
    ];
    NAMESPACES.contains(&name)
}

/// Whether a crate of Rust is a library's, by its name.
pub(super) fn has_crate(name: &str) -> bool {
    const CRATES: [&str; 28] = [
        "tokio",
        "mio",
        "socket2",
        "rustix",
        "nix",
        "libc",
        "hyper",
        "hyper_util",
        "reqwest",
        "h2",
        "tower",
        "tonic",
        "rustls",
        "tokio_rustls",
        "native_tls",
        "openssl",
        "futures",
        "futures_util",
        "futures_core",
        "async_std",
        "async_io",
        "async_executor",
        "smol",
        "polling",
        "tokio_postgres",
        "sqlx_core",
        "ureq",
        "tracing",
    ];
    CRATES.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_of_libraries_are_known_by_how_they_begin() {
        for (name, expected) in [
            ("uv__tcp_connect", Some("libuv")),
            ("evutil_socket_connect_", Some("libevent")),
            ("bufferevent_socket_connect", Some("libevent")),
            ("_redisContextConnectTcp", Some("hiredis")),
            ("BIO_connect", Some("OpenSSL")),
            ("conn_state", Some("OpenSSL")),
            ("Curl_socket_open", Some("libcurl")),
            ("open_redis", None),
            ("event_loop", None),
            ("unix_connect", Some("Unix")),
            ("unix_connect_ledger", None),
            ("uv", None),
            ("connect_uv", None),
            ("", None),
        ] {
            assert_eq!(of_c(name), expected, "{name}");
        }
    }
}
