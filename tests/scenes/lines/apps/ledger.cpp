// Leaks one connection a way: `ledger WAY PORT`. The comment "opened here" names the function that has to be named.
#include <arpa/inet.h>
#include <coroutine>
#include <functional>
#include <future>
#include <iostream>
#include <map>
#include <memory>
#include <netinet/in.h>
#include <stdexcept>
#include <string>
#include <sys/socket.h>
#include <thread>
#include <unistd.h>
#include <vector>

namespace {
sockaddr_in peer;
std::vector<int> kept;

[[gnu::noinline]] int new_socket() { return socket(AF_INET, SOCK_STREAM, 0); }
[[gnu::noinline]] void keep(int fd) { kept.push_back(fd); }
} // namespace

namespace shop {
class Ledger {
  public:
    virtual ~Ledger() = default;
    virtual void open();
};

[[gnu::noinline]] void Ledger::open() {
    int fd = new_socket();
    int failed = connect(fd, reinterpret_cast<sockaddr *>(&peer), sizeof peer); // opened here: shop::Ledger::open
    keep(failed ? -1 : fd);
}

struct Plain {};

template <typename Transport> class Pool {
  public:
    [[gnu::noinline]] int fill(int size) {
        int failed = 0;
        for (int i = 0; i < size; i++) {
            int fd = new_socket();
            failed += connect(fd, reinterpret_cast<sockaddr *>(&peer), sizeof peer); // opened here: fill
            keep(fd);
        }
        return failed;
    }
};

[[gnu::noinline]] void refuse(const std::string &why) { throw std::runtime_error(why); }

[[gnu::noinline]] int fail_over() {
    try {
        refuse("the first ledger is down");
    } catch (const std::runtime_error &error) {
        int fd = new_socket();
        int failed = connect(fd, reinterpret_cast<sockaddr *>(&peer), sizeof peer); // opened here: shop::fail_over
        keep(fd);
        return failed;
    }
    return 0;
}

[[gnu::noinline]] void accept_for_ever() {
    int listener = new_socket(), yes = 1;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (bind(listener, reinterpret_cast<sockaddr *>(&peer), sizeof peer) || listen(listener, 16)) std::exit(1);
    for (;;) {
        int fd = accept(listener, nullptr, nullptr); // opened here: shop::accept_for_ever
        keep(fd);
    }
}

// Opens what it guards when it comes into being.
struct Guard {
    int fd = new_socket();
    [[gnu::noinline]] Guard() {
        int failed = connect(fd, reinterpret_cast<sockaddr *>(&peer), sizeof peer); // opened here: shop::Guard::Guard
        keep(failed ? -1 : fd);
    }
};

struct Task {
    struct promise_type {
        Task get_return_object() { return {}; }
        std::suspend_never initial_suspend() { return {}; }
        std::suspend_never final_suspend() noexcept { return {}; }
        void return_void() {}
        void unhandled_exception() {}
    };
};

struct Later {
    static inline std::coroutine_handle<> waiting;
    bool await_ready() { return false; }
    void await_suspend(std::coroutine_handle<> handle) { waiting = handle; }
    void await_resume() {}
};

Task settle() {
    co_await Later{};
    int fd = new_socket();
    int failed = connect(fd, reinterpret_cast<sockaddr *>(&peer), sizeof peer); // opened here: settle
    keep(failed ? -1 : fd);
}
} // namespace shop

int main(int count, char **arguments) {
    if (count < 3) return 2;
    peer.sin_family = AF_INET;
    peer.sin_port = htons(static_cast<uint16_t>(std::stoi(arguments[2])));
    peer.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    auto in_lambda = [] {
        int fd = new_socket();
        int failed = connect(fd, reinterpret_cast<sockaddr *>(&peer), sizeof peer); // opened here: operator()
        keep(failed ? -1 : fd);
    };
    std::unique_ptr<shop::Ledger> ledger = std::make_unique<shop::Ledger>();
    std::map<std::string, std::function<void()>> ways = {
        {"method", [&] { ledger->open(); }},
        {"template", [] { shop::Pool<shop::Plain>().fill(1); }},
        {"lambda", in_lambda},
        {"thread", [&] { std::thread(in_lambda).join(); }},
        {"async", [&] { std::async(std::launch::async, [&] { ledger->open(); }).get(); }},
        {"exception", [] { shop::fail_over(); }},
        {"constructor", [] { static auto *guard = new shop::Guard(); (void)guard; }},
        {"accept", [] { std::thread(shop::accept_for_ever).join(); }},
        {"coroutine", [] { shop::settle(); shop::Later::waiting.resume(); }},
    };
    auto way = ways.find(arguments[1]);
    if (way == ways.end()) return 2;
    way->second();
    pause();
}
