// SPDX-License-Identifier: Apache-2.0
//
// The proxy of the suite does what fault tests ask of it.

#include "proxy.h"

#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <string>
#include <thread>
#include <vector>

#include "doctest/doctest.h"
#include "openmessaging/status.h"

namespace openmessaging::conformance::proxy_test {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

sockaddr_in Loopback(uint16_t port) {
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

// Sends back what each connection says.
class EchoServer {
 public:
  EchoServer() : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address = Loopback(0);
    socklen_t size = sizeof(address);
    REQUIRE(::bind(fd_, reinterpret_cast<sockaddr*>(&address), size) == 0);
    REQUIRE(::listen(fd_, 16) == 0);
    REQUIRE(::getsockname(fd_, reinterpret_cast<sockaddr*>(&address), &size) ==
            0);
    port_ = ntohs(address.sin_port);
    accepting_ = std::thread([this] {
      while (true) {
        const int one = ::accept4(fd_, nullptr, nullptr, SOCK_CLOEXEC);
        if (one < 0) return;
        echoing_.emplace_back([one] { Echo(one); });
      }
    });
  }
  ~EchoServer() {
    (void)::shutdown(fd_, SHUT_RDWR);
    accepting_.join();
    for (std::thread& thread : echoing_) thread.join();
    (void)::close(fd_);
  }
  std::string address() const { return "127.0.0.1:" + std::to_string(port_); }

 private:
  static void Echo(int fd) {
    std::array<char, 4096> buffer;
    while (true) {
      const ssize_t got = ::recv(fd, buffer.data(), buffer.size(), 0);
      if (got <= 0) break;
      (void)::send(fd, buffer.data(), static_cast<size_t>(got), MSG_NOSIGNAL);
    }
    (void)::close(fd);
  }

  const int fd_;
  uint16_t port_ = 0;
  std::thread accepting_;
  std::vector<std::thread> echoing_;
};

class Client {
 public:
  explicit Client(const std::string& host)
      : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    const auto port = std::stoi(host.substr(host.rfind(':') + 1));
    const sockaddr_in address = Loopback(static_cast<uint16_t>(port));
    (void)::connect(fd_, reinterpret_cast<const sockaddr*>(&address),
                    sizeof(address));
  }
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;
  ~Client() { (void)::close(fd_); }

  void Say(const std::string& text) const {
    (void)::send(fd_, text.data(), text.size(), MSG_NOSIGNAL);
  }
  // Returns: what comes within the time: "reset", "closed", or "" for nothing.
  std::string Hear(milliseconds time) const {
    pollfd wait = {fd_, POLLIN, 0};
    if (::poll(&wait, 1, static_cast<int>(time.count())) <= 0) return "";
    std::array<char, 4096> buffer;
    const ssize_t got = ::recv(fd_, buffer.data(), buffer.size(), 0);
    if (got < 0) return errno == ECONNRESET ? "reset" : "error";
    return got == 0 ? "closed"
                    : std::string(buffer.data(), static_cast<size_t>(got));
  }
  std::string Ask(const std::string& text) const {
    Say(text);
    return Hear(kLong);
  }

  static constexpr milliseconds kLong{10000};
  static constexpr milliseconds kShort{100};

 private:
  const int fd_;
};

struct Fixture {
  EchoServer server;
  std::unique_ptr<Proxy> proxy = [this] {
    const std::vector<ProxyRoute> routes = {{"127.0.0.1:0", server.address()}};
    auto started = Proxy::Start(routes);
    REQUIRE(started.ok());
    return *std::move(started);
  }();
  std::string host = proxy->hosts()[0];
};

}  // namespace

TEST_CASE_FIXTURE(Fixture, "it passes on what both ends say") {
  const Client one(host);
  const Client two(host);
  CHECK(one.Ask("a") == "a");
  CHECK(two.Ask("b") == "b");
  CHECK(one.Ask("c") == "c");
  CHECK(proxy->open() == 2);
  CHECK(proxy->attempts().size() == 2);
}

TEST_CASE_FIXTURE(Fixture, "more than a socket holds arrives") {
  const Client one(host);
  const std::string text(16 << 20, 'x');
  std::thread talking([&] { one.Say(text); });
  size_t heard = 0;
  while (heard < text.size()) {
    const std::string part = one.Hear(Client::kLong);
    REQUIRE(!part.empty());
    heard += part.size();
  }
  talking.join();
  CHECK(heard == text.size());
}

TEST_CASE_FIXTURE(Fixture, "a cut resets, and new connections work") {
  const Client one(host);
  REQUIRE(one.Ask("a") == "a");
  proxy->Cut();
  CHECK(one.Hear(Client::kLong) == "reset");
  const Client two(host);
  CHECK(two.Ask("b") == "b");
  CHECK(proxy->open() == 1);
}

TEST_CASE_FIXTURE(Fixture, "what is refused is counted, until it is healed") {
  const Client old(host);
  REQUIRE(old.Ask("a") == "a");
  proxy->Forget();
  proxy->Set(Traffic::kRefuse);
  const Client one(host);
  CHECK(one.Hear(Client::kLong) == "reset");
  CHECK(proxy->attempts().size() == 1);
  CHECK(old.Ask("b") == "b");
  proxy->Heal();
  const Client two(host);
  CHECK(two.Ask("c") == "c");
}

TEST_CASE_FIXTURE(Fixture, "on a half-open connection nothing ever comes") {
  const Client one(host);
  REQUIRE(one.Ask("a") == "a");
  proxy->HalfOpen();
  one.Say("b");
  CHECK(one.Hear(Client::kShort) == "");
  const Client two(host);
  CHECK(two.Ask("c") == "c");
  CHECK(one.Hear(Client::kShort) == "");
  proxy->Heal();
  CHECK(one.Hear(Client::kLong) == "reset");
}

TEST_CASE_FIXTURE(Fixture, "what is blocked holds new connections too") {
  proxy->Set(Traffic::kBlock);
  const Client one(host);
  one.Say("a");
  CHECK(one.Hear(Client::kShort) == "");
  proxy->Set(Traffic::kPass);
  CHECK(one.Hear(Client::kLong) == "reset");
}

TEST_CASE_FIXTURE(Fixture, "the broker hears what is muted, nobody hears it") {
  const Client one(host);
  REQUIRE(one.Ask("a") == "a");
  proxy->Set(Traffic::kMute);
  one.Say("b");
  CHECK(one.Hear(Client::kShort) == "");
  // Its answer is gone, so the connection cannot go on.
  proxy->Set(Traffic::kPass);
  CHECK(one.Hear(Client::kLong) == "reset");
}

TEST_CASE_FIXTURE(Fixture, "each direction is late by the delay") {
  const Client one(host);
  REQUIRE(one.Ask("a") == "a");
  proxy->Delay(milliseconds(50));
  const auto start = steady_clock::now();
  CHECK(one.Ask("b") == "b");
  CHECK(steady_clock::now() - start >= milliseconds(100));
  proxy->Heal();
  CHECK(one.Ask("c") == "c");
}

TEST_CASE("a route that is none is refused") {
  const auto start = [](std::string listen, std::string target) {
    const std::vector<ProxyRoute> routes = {{listen, target}};
    return OmsCode(Proxy::Start(routes).status());
  };
  CHECK(start("here", "127.0.0.1:1") == Code::kBadParameter);
  CHECK(start("127.0.0.1:0", ":5") == Code::kBadParameter);
  const EchoServer server;
  CHECK(start(server.address(), "127.0.0.1:1") == Code::kUnavailable);
}

TEST_CASE("a broker that is not there resets its clients") {
  const std::vector<ProxyRoute> routes = {{"127.0.0.1:0", "127.0.0.1:1"}};
  const auto proxy = Proxy::Start(routes);
  REQUIRE(proxy.ok());
  const Client one((*proxy)->hosts()[0]);
  CHECK(one.Hear(Client::kLong) == "reset");
}

}  // namespace openmessaging::conformance::proxy_test
