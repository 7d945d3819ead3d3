// Leaks connections through a library of headers alone: `asio WAY PORT`.
#include <asio.hpp>
#include <cstdlib>
#include <memory>
#include <string>
#include <unistd.h>

namespace shop {
using asio::ip::tcp;

[[gnu::noinline]] void open_ledger(asio::io_context &context, const tcp::endpoint &peer) {
    auto *socket = new tcp::socket(context);
    socket->connect(peer); // opened here: shop::open_ledger
}

[[gnu::noinline]] void open_later(asio::io_context &context, const tcp::endpoint &peer) {
    auto *socket = new tcp::socket(context);
    socket->async_connect(peer, [](const asio::error_code &) { pause(); }); // opened here: shop::open_later
    context.run();
}

[[gnu::noinline]] void serve(asio::io_context &context, const tcp::endpoint &peer) {
    tcp::acceptor acceptor(context, peer);
    acceptor.async_accept([](const asio::error_code &, tcp::socket socket) {
        new tcp::socket(std::move(socket));
        pause();
    });
    context.run(); // opened here: shop::serve
}
} // namespace shop

int main(int count, char **arguments) {
    if (count < 3) return 2;
    asio::io_context context;
    asio::ip::tcp::endpoint peer(asio::ip::address_v4::loopback(), static_cast<unsigned short>(std::stoi(arguments[2])));
    std::string way = arguments[1];
    if (way == "connect") shop::open_ledger(context, peer);
    else if (way == "later") shop::open_later(context, peer);
    else shop::serve(context, peer);
    pause();
}
