// Serves three channels and a timer in one thread: ticks of shares and of bonds, each of them checked, and lines of
// text, which go to stdout. The timer says on stderr how far it is. Ends when the three streams have ended.
#include <boost/asio.hpp>
#include <chrono>
#include <iostream>
#include <nimsync/asio.hpp>
#include <nimsync/nimsync.hpp>
#include <stdexcept>
#include <string>
#include <string_view>

#include "tick.hpp"

namespace asio = boost::asio;

struct Totals {
  std::uint64_t shares = 0;
  std::uint64_t bonds = 0;
  std::uint64_t lines = 0;
  int open = 3;  // streams
};

// Each coroutine owns its receiver, which stays where it is while the coroutine waits.

asio::awaitable<void> take_ticks(nimsync::Receiver<Tick> rx, std::uint64_t& count, int& open) {
  for (;;) {
    const auto [ec, tick] = co_await nimsync::async_receive(rx, asio::as_tuple(asio::use_awaitable));
    if (ec == nimsync::Status::closed) break;
    if (ec) throw boost::system::system_error(ec, rx.name());
    if (tick != nth_tick(count)) throw std::runtime_error(rx.name() + ": tick " + std::to_string(count) + " is wrong");
    ++count;
  }
  --open;
}

asio::awaitable<void> print_lines(nimsync::Receiver<nimsync::Bytes> rx, std::uint64_t& count, int& open) {
  for (;;) {
    const auto [ec, line] = co_await nimsync::async_receive(rx, asio::as_tuple(asio::use_awaitable));
    if (ec == nimsync::Status::closed) break;
    if (ec) throw boost::system::system_error(ec, rx.name());
    std::cout << std::string_view(reinterpret_cast<const char*>(line.data()), line.size()) << '\n';
    rx.release();
    ++count;
  }
  --open;
}

asio::awaitable<void> report(const Totals& totals) {
  asio::steady_timer timer(co_await asio::this_coro::executor);
  do {
    timer.expires_after(std::chrono::milliseconds(50));
    co_await timer.async_wait(asio::use_awaitable);
    std::cerr << totals.shares << " shares, " << totals.bonds << " bonds, " << totals.lines << " lines\n";
  } while (totals.open != 0);
}

int main() try {
  auto registry = nimsync::Registry::connect();
  asio::io_context io;
  const auto spawn = [&io](asio::awaitable<void> coroutine) {
    asio::co_spawn(io, std::move(coroutine), [](const std::exception_ptr& failure) {
      if (failure) std::rethrow_exception(failure);  // out of run()
    });
  };

  Totals totals;
  spawn(take_ticks(registry.receiver<Tick>("md.shares", {.capacity = 1024}), totals.shares, totals.open));
  spawn(take_ticks(registry.receiver<Tick>("md.bonds", {.capacity = 1024}), totals.bonds, totals.open));
  spawn(print_lines(registry.receiver<nimsync::Bytes>("log", {.capacity = 64 << 10}), totals.lines, totals.open));
  spawn(report(totals));
  io.run();
  return 0;
} catch (const std::exception& error) {
  std::cerr << error.what() << '\n';
  return 1;
}
