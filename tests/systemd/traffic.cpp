// usage: traffic CHANNEL       (of the system's registry; records of 8 bytes)
//
// A process sends the numbers from 0 on, about one in 50 us, and another receives them, until SIGTERM; then says how
// many came, and the longest pause between two that followed one another. Exits 1 when one was lost, doubled or out of
// order. Makes the file CHANNEL.flows in /tmp when the first message came.
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <nimsync/nimsync.hpp>
#include <string>
#include <thread>

namespace {

using Clock = std::chrono::steady_clock;

volatile std::sig_atomic_t ended = 0;

void send(const std::string& channel) {
  std::signal(SIGTERM, [](int) { ended = 1; });
  auto tx = nimsync::Registry::connect(nimsync::Registry::Scope::system).sender<std::uint64_t>(channel);
  for (std::uint64_t n = 0; ended == 0; ++n) {
    if (const auto status = tx.send(n); !status) {
      std::cerr << "cannot send: " << name(status) << "\n";
      std::_Exit(1);
    }
    std::this_thread::sleep_for(std::chrono::microseconds{50});
  }
  tx.close();
}

int receive(const std::string& channel) {
  auto rx = nimsync::Registry::connect(nimsync::Registry::Scope::system).receiver<std::uint64_t>(channel);
  std::uint64_t expected = 0;
  std::uint64_t n = 0;
  std::uint64_t pauses = 0;
  Clock::duration longest{};
  Clock::time_point last{};
  nimsync::Status status = nimsync::Status::ok;
  for (; (status = rx.receive(n)); ++expected) {
    const auto now = Clock::now();
    if (n != expected) {
      std::cout << "message " << n << " came in the place of " << expected << "\n";
      return 1;
    }
    if (expected == 0) {
      std::ofstream{"/tmp/" + channel + ".flows"} << '\n';
    } else {
      longest = std::max(longest, now - last);
      pauses += now - last > std::chrono::milliseconds{100} ? 1U : 0U;
    }
    last = now;
  }
  if (status != nimsync::Status::closed || expected == 0) {
    std::cout << "ended by " << name(status) << " after " << expected << " messages\n";
    return 1;
  }
  std::cout << expected << " messages, 0 lost, the longest pause "
            << static_cast<double>(std::chrono::duration_cast<std::chrono::microseconds>(longest).count()) / 1000
            << " ms, " << pauses << " over 100 ms\n";
  return 0;
}

}  // namespace

int main(int argc, char** argv) try {
  if (argc != 2) {
    std::cerr << "usage: traffic CHANNEL\n";
    return 2;
  }
  const std::string channel = argv[1];
  const pid_t sender = ::fork();
  if (sender == 0) {
    send(channel);
    return 0;
  }
  static pid_t child = sender;
  std::signal(SIGTERM, [](int) { ::kill(child, SIGTERM); });
  const int code = receive(channel);
  int status = 0;
  ::kill(sender, SIGTERM);
  while (::waitpid(sender, &status, 0) < 0 && errno == EINTR) {
  }
  return code != 0 ? code : WIFEXITED(status) ? WEXITSTATUS(status) : 1;
} catch (const nimsync::Error& error) {
  std::cerr << error.what() << "\n";
  return 1;
}
