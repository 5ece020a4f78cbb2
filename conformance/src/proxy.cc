// SPDX-License-Identifier: Apache-2.0

#include "proxy.h"

#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <deque>
#include <list>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>

#include "openmessaging/internal/text.h"
#include "openmessaging/status.h"

namespace openmessaging::conformance {
namespace {

using internal::Concat;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

// A file descriptor that is closed in the end.
class Fd {
 public:
  explicit Fd(int fd = -1) : fd_(fd) {}
  Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Fd& operator=(Fd&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~Fd() {
    if (fd_ >= 0) ::close(fd_);
  }
  int get() const { return fd_; }

 private:
  int fd_;
};

struct AddressesFree {
  void operator()(addrinfo* list) const { freeaddrinfo(list); }
};
using Addresses = std::unique_ptr<addrinfo, AddressesFree>;

absl::StatusOr<Addresses> Resolve(const std::string& text) {
  const size_t colon = text.rfind(':');
  addrinfo hints = {};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_NUMERICSERV;
  addrinfo* found = nullptr;
  if (colon == std::string::npos || colon == 0 ||
      getaddrinfo(text.substr(0, colon).c_str(), text.substr(colon + 1).c_str(),
                  &hints, &found) != 0) {
    return MakeStatus(Code::kBadParameter, "proxy: address is \"",
                      internal::Printable(text), "\"; expected host:port");
  }
  return Addresses(found);
}

void SetNonBlocking(int fd) {
  (void)::fcntl(fd, F_SETFL, ::fcntl(fd, F_GETFL) | O_NONBLOCK);
  const int on = 1;
  (void)::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
}

// Closes with a reset: neither end learns that the other one meant it.
void Reset(Fd fd) {
  const linger at_once = {1, 0};
  (void)::setsockopt(fd.get(), SOL_SOCKET, SO_LINGER, &at_once,
                     sizeof(at_once));
}

// Bytes on their way in one direction.
class Pipe {
 public:
  // Reads what is there. Returns: false once the connection has ended.
  bool ReadFrom(int fd, milliseconds delay) {
    std::array<char, 64 << 10> buffer;
    const ssize_t got = ::recv(fd, buffer.data(), buffer.size(), 0);
    if (got > 0) {
      const auto count = static_cast<size_t>(got);
      bytes_ += count;
      chunks_.push_back(
          {std::string(buffer.data(), count), steady_clock::now() + delay});
    }
    return got > 0 || (got < 0 && (errno == EAGAIN || errno == EINTR));
  }

  // Writes what is due. Returns: false once the connection has ended.
  bool WriteTo(int fd) {
    while (!chunks_.empty() && chunks_.front().due <= steady_clock::now()) {
      std::string& text = chunks_.front().text;
      const ssize_t sent = ::send(fd, text.data() + written_,
                                  text.size() - written_, MSG_NOSIGNAL);
      if (sent < 0) return errno == EAGAIN || errno == EINTR;
      written_ += static_cast<size_t>(sent);
      bytes_ -= static_cast<size_t>(sent);
      if (written_ < text.size()) return true;
      chunks_.pop_front();
      written_ = 0;
    }
    return true;
  }

  void Drop() {
    chunks_.clear();
    bytes_ = written_ = 0;
  }

  bool empty() const { return chunks_.empty(); }
  bool full() const { return bytes_ > (size_t{4} << 20); }
  // Returns: when there is something to write; nothing: not before something
  // is read.
  std::optional<steady_clock::time_point> due() const {
    if (chunks_.empty()) return std::nullopt;
    return chunks_.front().due;
  }

 private:
  struct Chunk {
    std::string text;
    steady_clock::time_point due;
  };
  std::deque<Chunk> chunks_;
  size_t bytes_ = 0;
  size_t written_ = 0;  // Of the first chunk.
};

// One client's connection, and the proxy's own to the broker for it.
struct Link {
  Fd client;
  Fd broker;
  Pipe up;
  Pipe down;
  bool dead = false;    // Half-open for good.
  bool harmed = false;  // Bytes are missing: it cannot go on.

  void Reset() {
    conformance::Reset(std::move(client));
    conformance::Reset(std::move(broker));
  }
};

// Invariants: links_ and what hangs on it belong to the thread that moves
// bytes while it holds mutex_, or to a caller that holds it. The thread sleeps
// without it, so whoever changes something wakes it.
class PollProxy final : public Proxy {
 public:
  ~PollProxy() override {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      stopping_ = true;
    }
    Wake();
    if (thread_.joinable()) thread_.join();
    for (Link& link : links_) link.Reset();
  }

  absl::Status Open(std::span<const ProxyRoute> routes) {
    wake_ = Fd(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
    for (const ProxyRoute& route : routes) {
      auto listen = Resolve(route.listen);
      if (!listen.ok()) return listen.status();
      auto target = Resolve(route.target);
      if (!target.ok()) return target.status();
      const addrinfo& at = **listen;
      Fd fd(::socket(at.ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
      const int on = 1;
      (void)::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
      sockaddr_storage bound = {};
      socklen_t size = sizeof(bound);
      if (::bind(fd.get(), at.ai_addr, at.ai_addrlen) != 0 ||
          ::listen(fd.get(), 128) != 0 ||
          ::getsockname(fd.get(), reinterpret_cast<sockaddr*>(&bound), &size) !=
              0) {
        return MakeStatus(Code::kUnavailable, "proxy: listen at \"",
                          internal::Printable(route.listen),
                          "\": ", std::string_view(std::strerror(errno)));
      }
      SetNonBlocking(fd.get());
      std::array<char, NI_MAXHOST> host{};
      std::array<char, NI_MAXSERV> port{};
      (void)::getnameinfo(reinterpret_cast<sockaddr*>(&bound), size,
                          host.data(), host.size(), port.data(), port.size(),
                          NI_NUMERICHOST | NI_NUMERICSERV);
      hosts_.push_back(Concat(std::string_view(host.data()), ":",
                              std::string_view(port.data())));
      doors_.push_back({std::move(fd), *std::move(target)});
    }
    thread_ = std::thread([this] { Run(); });
    return absl::OkStatus();
  }

  const std::vector<std::string>& hosts() const override { return hosts_; }

  void Cut() override {
    const std::lock_guard<std::mutex> lock(mutex_);
    for (Link& link : links_) link.Reset();
    links_.clear();
    Wake();
  }

  void HalfOpen() override {
    const std::lock_guard<std::mutex> lock(mutex_);
    for (Link& link : links_) link.dead = true;
    Wake();
  }

  void Set(Traffic traffic) override {
    const std::lock_guard<std::mutex> lock(mutex_);
    SetLocked(traffic);
  }

  void Delay(milliseconds delay) override {
    const std::lock_guard<std::mutex> lock(mutex_);
    delay_ = delay;
  }

  void Heal() override {
    const std::lock_guard<std::mutex> lock(mutex_);
    delay_ = milliseconds(0);
    EndLinks([](const Link& link) { return link.dead; });
    SetLocked(Traffic::kPass);
  }

  std::vector<steady_clock::time_point> attempts() const override {
    const std::lock_guard<std::mutex> lock(mutex_);
    return attempts_;
  }

  void Forget() override {
    const std::lock_guard<std::mutex> lock(mutex_);
    attempts_.clear();
  }

  size_t open() const override {
    const std::lock_guard<std::mutex> lock(mutex_);
    return links_.size();
  }

 private:
  // Where it listens, and what stands behind that.
  struct Door {
    Fd fd;
    Addresses target;
  };

  void Wake() {
    const uint64_t one = 1;
    (void)!::write(wake_.get(), &one, sizeof(one));
  }

  void SetLocked(Traffic traffic) {
    traffic_ = traffic;
    EndLinks([traffic](const Link& link) {
      return link.harmed && traffic != Traffic::kBlock &&
             traffic != Traffic::kMute;
    });
    Wake();
  }

  template <typename Predicate>
  void EndLinks(Predicate ends) {
    for (auto link = links_.begin(); link != links_.end();) {
      if (ends(*link)) {
        link->Reset();
        link = links_.erase(link);
      } else {
        ++link;
      }
    }
  }

  bool Holds(const Link& link) const {
    return link.dead || traffic_ == Traffic::kBlock;
  }

  void Run() {
    std::vector<pollfd> waits;
    while (true) {
      int timeout = -1;
      {
        const std::lock_guard<std::mutex> lock(mutex_);
        if (stopping_) return;
        timeout = Prepare(waits);
      }
      (void)::poll(waits.data(), waits.size(), timeout);
      uint64_t woken = 0;
      (void)!::read(wake_.get(), &woken, sizeof(woken));
      const std::lock_guard<std::mutex> lock(mutex_);
      if (stopping_) return;
      for (Door& door : doors_) Accept(door);
      for (auto link = links_.begin(); link != links_.end();) {
        if (Move(*link)) {
          ++link;
        } else {
          link->Reset();
          link = links_.erase(link);
        }
      }
    }
  }

  // Fills in what to wait for. Returns: for how long, in milliseconds.
  int Prepare(std::vector<pollfd>& waits) {
    waits.clear();
    waits.push_back({wake_.get(), POLLIN, 0});
    for (const Door& door : doors_) {
      waits.push_back({door.fd.get(), POLLIN, 0});
    }
    std::optional<steady_clock::time_point> next;
    const auto now = steady_clock::now();
    for (const Link& link : links_) {
      if (Holds(link)) continue;
      const auto add = [&](const Fd& fd, const Pipe& in, const Pipe& out) {
        short events = in.full() ? 0 : POLLIN;
        if (const auto due = out.due()) {
          if (*due <= now) events |= POLLOUT;
          if (*due > now && (!next || *due < *next)) next = due;
        }
        waits.push_back({fd.get(), events, 0});
      };
      add(link.client, link.up, link.down);
      add(link.broker, link.down, link.up);
    }
    if (!next) return -1;
    return static_cast<int>(
        std::chrono::ceil<milliseconds>(*next - now).count());
  }

  void Accept(Door& door) {
    while (true) {
      Fd client(::accept4(door.fd.get(), nullptr, nullptr, SOCK_CLOEXEC));
      if (client.get() < 0) return;
      attempts_.push_back(steady_clock::now());
      const addrinfo& to = *door.target;
      Fd broker(::socket(to.ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
      if (traffic_ == Traffic::kRefuse ||
          ::connect(broker.get(), to.ai_addr, to.ai_addrlen) != 0) {
        Reset(std::move(client));
        continue;
      }
      SetNonBlocking(client.get());
      SetNonBlocking(broker.get());
      links_.push_back({std::move(client), std::move(broker), {}, {}});
    }
  }

  // Moves what can be. Returns: false once an end has closed.
  bool Move(Link& link) {
    if (Holds(link)) {
      link.harmed = true;
      return true;
    }
    bool lives = true;
    if (!link.up.full()) {
      lives = link.up.ReadFrom(link.client.get(), delay_) && lives;
    }
    if (!link.down.full()) {
      lives = link.down.ReadFrom(link.broker.get(), delay_) && lives;
    }
    if (traffic_ == Traffic::kMute && !link.down.empty()) {
      link.down.Drop();
      link.harmed = true;
    }
    lives = link.up.WriteTo(link.broker.get()) && lives;
    lives = link.down.WriteTo(link.client.get()) && lives;
    return lives;
  }

  mutable std::mutex mutex_;
  bool stopping_ = false;
  Traffic traffic_ = Traffic::kPass;
  milliseconds delay_{0};
  std::list<Link> links_;
  std::vector<steady_clock::time_point> attempts_;

  // Set before the thread begins.
  Fd wake_;
  std::vector<Door> doors_;
  std::vector<std::string> hosts_;
  std::thread thread_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Proxy>> Proxy::Start(
    std::span<const ProxyRoute> routes) {
  auto proxy = std::make_unique<PollProxy>();
  if (absl::Status opened = proxy->Open(routes); !opened.ok()) return opened;
  return std::unique_ptr<Proxy>(std::move(proxy));
}

}  // namespace openmessaging::conformance
