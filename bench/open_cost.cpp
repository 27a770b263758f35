#include "bench/open_cost.hpp"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <stdexcept>
#include <system_error>
#include <utility>
#include <vector>

#include "bench/loops.hpp"
#include "bench/machine.hpp"
#include "bench/shared.hpp"
#include "nimsync/nimsync.hpp"

namespace bench {
namespace {

using Json = nlohmann::json;

constexpr std::size_t kCapacity = 1024;
constexpr int kOpenings = 32;  // a sample
constexpr int kAttempts = 12;
constexpr std::chrono::seconds kPatience{60};

struct Outcome {
  double open_ns;
  double create_ns;
  double remove_ns;
  double bare_ns;
  std::uint64_t dropped;
};

struct Findings {
  std::atomic<std::uint64_t> rounds;
  std::array<char, 1024> error;
};

/// As long as what the library sends to open a channel.
std::string request() {
  return Json{{"method", "io.nimsync.registry.Open"},
              {"parameters",
               {{"name", "bench-open"},
                {"role", "receiver"},
                {"expect", {{"layout", "stamped"}, {"size", 8}, {"capacity", 0}, {"alignment", 8}, {"type", ""}}}}}}
      .dump();
}

class Socket {
 public:
  explicit Socket(int fd) : fd_(fd) {
    if (fd_ < 0) throw std::system_error(errno, std::generic_category(), "a socket of the echo server");
  }
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;
  ~Socket() { ::close(fd_); }

  [[nodiscard]] int fd() const noexcept { return fd_; }

  /// One JSON value with a NUL behind it, either way.
  [[nodiscard]] Json read() const {
    std::string text;
    while (text.empty() || text.back() != '\0') {
      std::array<char, 4096> part;
      const ssize_t got = ::read(fd_, part.data(), part.size());
      if (got <= 0) throw std::runtime_error("the echo server's connection broke");
      text.append(part.data(), static_cast<std::size_t>(got));
    }
    text.pop_back();
    return Json::parse(text);
  }
  void write(const std::string& text) const {
    const std::size_t bytes = text.size() + 1;
    if (::send(fd_, text.c_str(), bytes, MSG_NOSIGNAL) != static_cast<ssize_t>(bytes)) {
      throw std::runtime_error("the echo server's connection broke");
    }
  }

 private:
  int fd_;
};

int new_socket() {
  return ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
}

/// Binds or connects.
template <class Use>
void at(const std::string& path, Use use) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path)
    throw std::runtime_error("the path " + path + " is too long for a socket");
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  if (use(reinterpret_cast<const sockaddr*>(&address), static_cast<socklen_t>(sizeof address)) != 0) {
    throw std::system_error(errno, std::generic_category(), path);
  }
}

void echo(const Socket& listening) {
  for (;;) {
    const Socket connection(::accept4(listening.fd(), nullptr, nullptr, SOCK_CLOEXEC));
    connection.write(connection.read().dump());
  }
}

/// ns, the median of kOpenings; what `once` gives is let go of outside the measured time.
template <class Once>
double typical(Once once) {
  std::vector<double> ns;
  for (int i = 0; i < kOpenings; ++i) {
    const auto begin = Clock::now();
    const auto opened = once();
    ns.push_back(ns_between(begin, Clock::now()));
    static_cast<void>(opened);
  }
  return summarise(std::move(ns)).median;
}

double bare(const std::string& path, const std::string& text) {
  return typical([&] {
    auto connection = std::make_unique<Socket>(new_socket());
    at(path, [&](const sockaddr* address, socklen_t length) { return ::connect(connection->fd(), address, length); });
    connection->write(text);
    if (connection->read().at("method") != "io.nimsync.registry.Open") throw std::runtime_error("the echo is wrong");
    return connection;
  });
}

double open(const std::string& socket) {
  return typical([&] { return nimsync::Registry::connect(socket).receiver<Record<kOpenSize>>("bench-open"); });
}

const nimsync::Options kOptions{.capacity = kCapacity};

/// Creates and removes channels over one connection; ns of either.
std::pair<double, double> create_and_remove(const std::string& socket) {
  auto registry = nimsync::Registry::connect(socket);
  std::vector<double> create_ns;
  std::vector<double> remove_ns;
  for (int i = 0; i < kOpenings; ++i) {
    const auto begin = Clock::now();
    registry.create("bench-create",
                    {.size = sizeof(Record<kOpenSize>), .alignment = alignof(Record<kOpenSize>), .type = {}}, kOptions);
    const auto created = Clock::now();
    registry.remove("bench-create", false);
    create_ns.push_back(ns_between(begin, created));
    remove_ns.push_back(ns_between(created, Clock::now()));
  }
  return {summarise(std::move(create_ns)).median, summarise(std::move(remove_ns)).median};
}

Outcome measure(const std::string& echo_path, const std::string& registry_socket) {
  static const std::string text = request();
  Outcome outcome{};
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    const double before = bare(echo_path, text);
    const double ns = open(registry_socket);
    const auto [create_ns, remove_ns] = create_and_remove(registry_socket);
    const double after = bare(echo_path, text);
    if (same_regime(before, after)) {
      outcome.open_ns = ns;
      outcome.create_ns = create_ns;
      outcome.remove_ns = remove_ns;
      outcome.bare_ns = (before + after) / 2;
      break;
    }
    ++outcome.dropped;
  }
  return outcome;
}

}  // namespace

Table measure_open(PrivateRegistry& registry, const CampaignOptions& options, const Progress& progress) {
  pin(registry.process().pid(), options.far_cpu);
  nimsync::Registry::connect(registry.socket())
      .create("bench-open", {.size = sizeof(Record<kOpenSize>), .alignment = alignof(Record<kOpenSize>), .type = {}},
              kOptions);

  const std::string echo_path = registry.path("echo.sock");
  const Socket listening(new_socket());
  at(echo_path, [&](const sockaddr* address, socklen_t length) { return ::bind(listening.fd(), address, length); });
  if (::listen(listening.fd(), 16) != 0) throw std::system_error(errno, std::generic_category(), echo_path);

  Shared<Findings> findings;
  Shared<Outcome> outcomes(options.rounds);
  const auto guarded = [&](const std::function<void()>& body) {
    return [&findings, body] {
      try {
        body();
        return 0;
      } catch (const std::exception& failure) {
        std::strncpy(findings->error.data(), failure.what(), findings->error.size() - 1);
        return 1;
      }
    };
  };
  Child server = Child::fork(guarded([&] {
    pin(0, options.far_cpu);
    echo(listening);
  }));
  Child client = Child::fork(guarded([&] {
    pin(0, options.near_cpu);
    static_cast<void>(open(registry.socket()));  // whatever is slow the first time
    for (std::size_t round = 0; round < options.rounds; ++round) {
      outcomes[round] = measure(echo_path, registry.socket());
      findings->rounds.store(round + 1, std::memory_order_relaxed);
    }
  }));

  std::uint64_t seen = 0;
  auto moved = Clock::now();
  for (std::optional<std::string> ended; !ended;) {
    constexpr int kGlance_ms = 200;
    static_cast<void>(next_signal(kGlance_ms));
    ended = client.ended();
    const auto server_ended = server.ended();
    if ((ended && *ended != "ended with exit code 0") || server_ended) {
      throw std::runtime_error("the " + std::string(ended ? "client" : "echo server") + " of the workload open " +
                               ended.value_or(server_ended.value_or("")) + ": " + findings->error.data());
    }
    const std::uint64_t rounds = findings->rounds.load(std::memory_order_relaxed);
    if (rounds != seen) {
      seen = rounds;
      moved = Clock::now();
    } else if (Clock::now() - moved > kPatience) {
      throw std::runtime_error("nothing moved for " + std::to_string(kPatience.count()) + " s in the workload open");
    }
    progress("open, round " + std::to_string(rounds + 1));
  }

  const std::string bare_name = "bare JSON round trip";
  Table table;
  table.workload = "open";
  table.size = sizeof(Record<kOpenSize>);
  table.note = "channels of " + std::to_string(kCapacity) + " records";
  table.unit = "us";
  const auto add = [&](const std::string& name, Kind kind, double Outcome::*ns) {
    Row row{name, kind, {}, {}, std::nullopt, 0, 0};
    std::vector<double> values;
    std::vector<double> ratios;
    for (std::size_t round = 0; round < outcomes.size(); ++round) {
      const Outcome& outcome = outcomes[round];
      row.dropped += outcome.dropped;
      if (outcome.open_ns == 0) continue;
      constexpr double kMicrosecond = 1000;
      values.push_back(outcome.*ns / kMicrosecond);
      ratios.push_back(outcome.*ns / outcome.bare_ns);
    }
    row.kept = values.size();
    row.value = summarise(std::move(values));
    if (kind != Kind::limit) row.ratios.push_back({bare_name, summarise(std::move(ratios))});
    table.rows.push_back(std::move(row));
  };
  add(bare_name, Kind::limit, &Outcome::bare_ns);
  add("connect, open, map", Kind::nimsync, &Outcome::open_ns);
  add("create", Kind::nimsync, &Outcome::create_ns);
  add("remove", Kind::nimsync, &Outcome::remove_ns);
  return table;
}

}  // namespace bench
