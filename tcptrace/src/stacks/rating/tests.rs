//! Frames of real programs, and whose code they are.

use super::*;
use crate::model::no_site::NoSiteBecause::{
    self, InterpretedDotnet, InterpretedErlang, InterpretedJava, InterpretedLua, InterpretedNode,
    InterpretedPerl, InterpretedPhp, InterpretedPython, InterpretedRuby,
};
use crate::stacks::{binary::Traits, interpreters};

const PROGRAM: &str = "/srv/shop/bin/shop";

fn rated(function: &str, source: &str, module: &str, program: &str) -> Kind {
    let binary = |path: &str| {
        let Binary { path, traits } = Binary::unread(path.into());
        Binary { path, traits: Traits { has_rust: true, ..traits } }
    };
    let (module, program) = (&binary(module), &binary(program));
    let source = (!source.is_empty()).then(|| Path::new(source));
    rate(Code { function, source, module: Some(module), program: Some(program) })
}

fn library(name: &str) -> Kind {
    Kind::Library(name.to_owned())
}

#[test]
fn a_module_tells_whose_code_it_has() {
    for (module, program, expected) in [
        ("/usr/lib/x86_64-linux-gnu/libc.so.6", PROGRAM, Kind::Runtime),
        ("/lib/x86_64-linux-gnu/libc-2.31.so", PROGRAM, Kind::Runtime),
        ("/lib/ld-musl-x86_64.so.1", PROGRAM, Kind::Runtime),
        ("/usr/lib64/ld-linux-x86-64.so.2", PROGRAM, Kind::Runtime),
        ("/usr/lib/x86_64-linux-gnu/libstdc++.so.6.0.30", PROGRAM, Kind::Runtime),
        ("[vdso]", PROGRAM, Kind::Runtime),
        ("/usr/lib/x86_64-linux-gnu/libcurl.so.4.8.0", PROGRAM, library("libcurl.so.4.8.0")),
        ("/srv/shop/lib/libcurl.so.4", PROGRAM, library("libcurl.so.4")),
        ("/srv/shop/lib/libpq.so.5", PROGRAM, library("libpq.so.5")),
        ("/usr/lib/x86_64-linux-gnu/libapr-1.so.0 (deleted)", PROGRAM, library("libapr-1.so.0")),
        (
            "/nix/store/0c1-curl-8.4/lib/libnghttp2.so.14",
            "/nix/store/9z-shop-1/bin/shop",
            library("libnghttp2.so.14"),
        ),
        ("/usr/local/lib/libhiredis.so.1", "/usr/local/bin/shop", library("libhiredis.so.1")),
        ("/usr/lib/x86_64-linux-gnu/nss/libnss_x.so", "/usr/bin/shop", library("libnss_x.so")),
        ("/srv/shop/lib/libledger.so", PROGRAM, Kind::Own),
        (PROGRAM, PROGRAM, Kind::Own),
        ("/srv/shop/bin/shop (deleted)", PROGRAM, Kind::Own),
        // Programs that lie where libraries do, with libraries of their own.
        ("/usr/lib/postgresql/15/bin/postgres", "/usr/lib/postgresql/15/bin/postgres", Kind::Own),
        ("/usr/lib/postgresql/15/lib/pgcrypto.so", "/usr/lib/postgresql/15/bin/postgres", Kind::Own),
        ("/usr/local/lib/shop/libledger.so", "/usr/local/bin/shop", Kind::Own),
        ("/usr/lib/x86_64-linux-gnu/shop/libledger.so.1", "/usr/bin/shop", Kind::Own),
        ("/usr/lib/firefox/libxul.so", "/usr/lib/firefox/firefox", Kind::Own),
        ("/nix/store/9z-shop-1/lib/libledger.so", "/nix/store/9z-shop-1/bin/shop", Kind::Own),
        ("/usr/sbin/nginx", "/usr/sbin/nginx", Kind::Own),
        ("/usr/bin/node_exporter", "/usr/bin/node_exporter", Kind::Own),
        ("/srv/app/node_modules/@shop/ledger/build/ledger.node", "/usr/bin/node", library("@shop/ledger")),
        ("/venv/lib/python3.12/site-packages/psycopg2/_psycopg.so", "/usr/bin/python3", library("psycopg2")),
    ] {
        assert_eq!(rated("dial", "", module, program), expected, "{module}");
    }
}

#[test]
fn interpreters_are_known_by_their_files() {
    for (module, language) in [
        ("/usr/bin/python3.11", InterpretedPython),
        ("/root/.pyenv/versions/3.13.1/lib/libpython3.13.so.1.0", InterpretedPython),
        ("/usr/lib/python3.11/lib-dynload/_socket.cpython-311-x86_64-linux-gnu.so", InterpretedPython),
        ("/usr/lib/jvm/java-17-openjdk-amd64/lib/server/libjvm.so", InterpretedJava),
        ("/opt/jdk/lib/libnet.so", InterpretedJava),
        ("/opt/jdk/bin/java", InterpretedJava),
        ("/usr/bin/node", InterpretedNode),
        ("/usr/lib/x86_64-linux-gnu/libnode.so.108", InterpretedNode),
        ("/usr/lib/x86_64-linux-gnu/libruby-3.1.so.3.1.2", InterpretedRuby),
        ("/opt/ruby/lib/ruby/3.2.0/x86_64-linux/socket.so", InterpretedRuby),
        ("/usr/bin/ruby3.1", InterpretedRuby),
        ("/usr/sbin/php-fpm8.2", InterpretedPhp),
        ("/usr/lib/apache2/modules/libphp8.2.so", InterpretedPhp),
        ("/usr/lib/erlang/erts-13.1.5/bin/beam.smp", InterpretedErlang),
        ("/usr/share/dotnet/shared/Microsoft.NETCore.App/8.0.0/libcoreclr.so", InterpretedDotnet),
        ("/usr/share/dotnet/shared/Microsoft.NETCore.App/8.0.0/libSystem.Native.so", InterpretedDotnet),
        ("/usr/lib/libmonosgen-2.0.so.1", InterpretedDotnet),
        ("/usr/lib/x86_64-linux-gnu/libperl.so.5.36", InterpretedPerl),
        ("/usr/bin/luajit-2.1.0-beta3", InterpretedLua),
    ] {
        assert_eq!(rated("f", "", module, module), Kind::Interpreter(language), "{module}");
    }
    for module in ["/srv/nodes", "/srv/python_shop", "/srv/java-shop", "/srv/rubygems-proxy", "/srv/beamer"] {
        assert_eq!(rated("f", "", module, module), Kind::Own, "{module}");
    }
}

#[test]
fn a_source_file_tells_whose_code_it_has() {
    for (source, expected) in [
        ("/rustc/59807616e1fa/library/std/src/net/tcp.rs", Kind::Runtime),
        ("/root/.rustup/toolchains/stable/lib/rustlib/src/rust/library/core/src/ops.rs", Kind::Runtime),
        (
            "/root/.cargo/registry/src/index.crates.io-1949cf8c6b5b557f/hyper-util-0.1.10/src/c.rs",
            library("hyper-util-0.1.10"),
        ),
        ("/cache/registry/src/github.com-1ecc6299db9ec823/mio-0.8.8/src/net.rs", library("mio-0.8.8")),
        ("/cache/git/checkouts/ledger-client-0123456789abcdef/1234567/src/lib.rs", library("ledger-client")),
        ("/build/shop/vendor/tokio/src/net/tcp/stream.rs", library("tokio")),
        ("/usr/include/c++/12/bits/invoke.h", Kind::Runtime),
        ("/usr/include/boost/asio/detail/impl/socket_ops.ipp", library("boost")),
        ("/usr/include/x86_64-linux-gnu/c++/12/bits/gthr.h", Kind::Runtime),
        ("/usr/local/include/httplib.h", library("httplib.h")),
        ("/usr/lib/nim/pure/net.nim", library("nim")),
        ("/build/shop/third_party/ttlib.h", library("ttlib.h")),
        ("/build/shop/build/_deps/httplib-src/httplib.h", library("httplib")),
        ("/build/shop/deps/hiredis/net.c", library("hiredis")),
        ("external/com_github_grpc_grpc/src/core/tcp.cc", library("com_github_grpc_grpc")),
        ("/home/ada/.conan2/p/b/poco6a1f/b/src/Net/Socket.cpp", library("poco6a1f")),
        ("/home/ada/.conan/data/poco/1.12.4/_/_/build/1f/src/Socket.cpp", library("poco")),
        ("/opt/vcpkg/buildtrees/libuv/src/v1.48/src/unix/tcp.c", library("libuv")),
        ("/opt/zig/lib/std/net.zig", Kind::Runtime),
        ("/usr/lib/zig/std/posix.zig", Kind::Runtime),
        ("/home/ada/.cache/zig/p/httpz-0.0.0-PNVzrE/src/worker.zig", library("httpz-0.0.0-PNVzrE")),
        ("/build/shop/.build/checkouts/swift-nio/Sources/NIOPosix/Socket.swift", library("swift-nio")),
        ("/build/shop/lib/redis/src/redis/connection.cr", library("redis")),
        (
            "/home/ada/.dub/packages/vibe-core-2.8.4/vibe-core/source/vibe/core/net.d",
            library("vibe-core-2.8.4"),
        ),
        ("/build/shop/src/shop.cr", Kind::Own),
        ("/build/shop/src/net.zig", Kind::Own),
        ("/build/shop/deps/dial.c", Kind::Own),
        ("/build/shop/lib/std/dial.c", Kind::Own),
        ("/usr/src/app/refunds.c", Kind::Own),
        ("/home/me/git/checkouts/refunds.c", Kind::Own),
        ("/srv/gems/refunds.c", Kind::Own),
        ("../sysdeps/unix/sysv/linux/connect.c", Kind::Runtime),
        ("/srv/registry/src/main.rs", Kind::Own),
        ("/srv/shop/vendor/main.rs", Kind::Own),
        ("/srv/rustc/src/main.rs", Kind::Own),
        ("/go/src/shop/vendor/shop.go", Kind::Own),
        ("/srv/shop/include/shop/ledger.h", Kind::Own),
        ("refunds.c", Kind::Own),
    ] {
        assert_eq!(rated("shop::dial", source, PROGRAM, PROGRAM), expected, "{source}");
    }
}

#[test]
fn a_name_alone_tells_whose_code_it_is() {
    for (name, expected) in [
        ("std::net::tcp::TcpListener::accept", Kind::Runtime),
        ("<std::net::tcp::TcpStream as std::io::Read>::read", Kind::Runtime),
        ("<alloc::boxed::Box<F> as core::ops::function::FnOnce<()>>::call_once", Kind::Runtime),
        ("tokio::net::tcp::stream::TcpStream::connect", library("tokio")),
        ("<&mut hyper::client::Connection as core::future::future::Future>::poll", library("hyper")),
        ("boost::asio::detail::socket_ops::connect", library("boost")),
        ("internal/runtime/syscall.Syscall6", Kind::Runtime),
        ("runtime.goexit", Kind::Runtime),
        ("net.(*TCPListener).Accept", library("net")),
        ("net/http.(*Transport).dialConnFor", library("net/http")),
        ("accept4", Kind::Runtime),
        ("start_thread", Kind::Runtime),
        ("__pthread_once_slow", Kind::Runtime),
        ("example.org/net.Accept", Kind::Own),
        ("main.main", Kind::Own),
        ("sccp", Kind::Runtime),
        ("main", Kind::Own),
        ("shop::tokio::connect", Kind::Own),
        ("<shop::Refunds as tokio::io::AsyncRead>::poll_read", Kind::Own),
        ("shop::refunds::handle_refund::{closure#0}", Kind::Own),
        ("connect_upstream", Kind::Own),
    ] {
        assert_eq!(rated(name, "", PROGRAM, PROGRAM), expected, "{name}");
    }
}

#[test]
fn a_name_says_only_what_it_may_mean_in_its_language() {
    let of_cpp = |function, source| {
        let module = Binary { path: PROGRAM.into(), ..Binary::default() };
        rate(Code { function, source, module: Some(&module), program: Some(&module) })
    };
    for name in ["core::Client::dial", "tower::open", "nix::socket", "alloc::Pool::take"] {
        assert_eq!(of_cpp(name, None), Kind::Own, "{name}");
        assert_ne!(rated(name, "", PROGRAM, PROGRAM), Kind::Own, "{name}");
    }
    for name in ["connect", "accept", "start_thread", "net.constprop"] {
        assert_eq!(of_cpp(name, Some(Path::new("refunds.cpp"))), Kind::Own, "{name}");
    }
    assert_eq!(of_cpp("connect", Some(Path::new("src/network/connect.c"))), Kind::Runtime);
    assert_eq!(of_cpp("connect", None), Kind::Runtime);
    assert_eq!(of_cpp("_ZNK5boost4asio6detail4dialEv", None), library("boost"));
    assert_eq!(of_cpp("_ZN4shop4dialEv", None), Kind::Own);
    assert_eq!(of_cpp("_ZN99shop", None), Kind::Own);
}

#[test]
fn what_is_made_at_run_time_is_known_by_its_name() {
    let machine = |language: NoSiteBecause| Kind::Interpreter(language);
    for (name, expected) in [
        ("JS:~connect node:net:1038:25", machine(InterpretedNode)),
        ("LazyCompile:*connect node:net:1038:25", machine(InterpretedNode)),
        ("Builtin:InterpreterEntryTrampoline", machine(InterpretedNode)),
        ("BytecodeHandler:CallProperty1", machine(InterpretedNode)),
        ("JS:~handleRefund /srv/refunds.js:3:22", Kind::Own),
        ("JS:~handleRefund file:///srv/refunds.mjs:3:22", Kind::Own),
        ("JS:*connect /srv/node_modules/pg/lib/client.js:9:1", library("pg")),
        ("py::handle_refund:/srv/refunds.py", Kind::Own),
        ("py::create_connection:/usr/lib/python3.12/socket.py", machine(InterpretedPython)),
        ("py::run:/opt/python/lib/python313.zip/asyncio/runners.py", machine(InterpretedPython)),
        ("py::run:/opt/python/lib/python3.13t/asyncio/runners.py", machine(InterpretedPython)),
        ("py::_call:<frozen importlib._bootstrap>", machine(InterpretedPython)),
        ("py::__init__:<attrs generated init shop.Refund>", machine(InterpretedPython)),
        ("py::<module>:<string>", Kind::Own),
        ("py::<module>:<stdin>", Kind::Own),
        ("py::refund:/home/me/python3.12/shop.py", Kind::Own),
        ("py::refund:/srv/shop.pyz/shop/refunds.py", Kind::Own),
        ("py::_find_and_load:<frozen importlib._bootstrap>", machine(InterpretedPython)),
        ("py::get:/venv/lib/python3.12/site-packages/requests/api.py", library("requests")),
        ("void java.net.Socket.connect(java.net.SocketAddress, int)", machine(InterpretedJava)),
        ("void io.netty.channel.socket.nio.NioSocketChannel.doConnect()", library("io.netty")),
        ("java.net.Socket org.apache.http.conn.Dialer.dial(int)", library("org.apache.http")),
        ("void com.example.shop.Refunds.open()", Kind::Own),
        ("Interpreter", machine(InterpretedJava)),
        ("StubRoutines (1)", machine(InterpretedJava)),
        ("java.util.List Leak.handleRefund(java.lang.String)", Kind::Own),
        (
            "void [System.Net.Sockets] System.Net.Sockets.Socket::Connect(class EndPoint)[Tier0]",
            library("System.Net.Sockets"),
        ),
        ("void [shop] Shop.Refunds::Handle()[Tier1]", Kind::Own),
        ("jitted_open", Kind::Own),
        ("", Kind::Own),
    ] {
        assert_eq!(interpreters::of_made(name), expected, "{name}");
    }
}
