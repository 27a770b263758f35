#include "tools/terminal.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <nimsync/error.hpp>
#include <string_view>

namespace nimsync::tools {

namespace {

constexpr std::string_view kEnter = "\x1b[?1049h\x1b[?25l\x1b[2J";
constexpr std::string_view kLeave = "\x1b[?25h\x1b[?1049l";

std::atomic<bool> ended{false};
static_assert(std::atomic<bool>::is_always_lock_free);

extern "C" void end_terminal(int /*signal*/) {
  ended = true;
}
extern "C" void resize_terminal(int /*signal*/) {}  // interrupts poll

void handle(int signal, void (*handler)(int)) {
  struct sigaction action {};
  action.sa_handler = handler;
  ::sigaction(signal, &action, nullptr);
}

/// The key behind an escape sequence; what isn't known is no key.
Key key_of(std::string_view sequence) {
  struct Known {
    std::string_view bytes;
    Key key;
  };
  constexpr std::array<Known, 10> kKnown{{{"\x1b[A", Key::up},
                                          {"\x1bOA", Key::up},
                                          {"\x1b[B", Key::down},
                                          {"\x1bOB", Key::down},
                                          {"\x1b[5~", Key::page_up},
                                          {"\x1b[6~", Key::page_down},
                                          {"\x1b[H", Key::home},
                                          {"\x1bOH", Key::home},
                                          {"\x1b[F", Key::end},
                                          {"\x1bOF", Key::end}}};
  const auto* known = std::find_if(kKnown.begin(), kKnown.end(), [&](const Known& k) { return k.bytes == sequence; });
  return known == kKnown.end() ? Key::none : known->key;
}

}  // namespace

Terminal::Terminal() {
  if (::isatty(STDIN_FILENO) == 0 || ::isatty(STDOUT_FILENO) == 0 || ::tcgetattr(STDIN_FILENO, &before_) != 0) {
    throw Error(Errc::invalid, "there is no terminal to show it on; --once prints it once");
  }
  ended = false;
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) handle(signal, end_terminal);
  handle(SIGWINCH, resize_terminal);
  termios raw = before_;
  raw.c_lflag &= ~static_cast<tcflag_t>(ICANON | ECHO);
  raw.c_cc[VMIN] = 1;
  raw.c_cc[VTIME] = 0;
  ::tcsetattr(STDIN_FILENO, TCSANOW, &raw);
  flags_before_ = ::fcntl(STDOUT_FILENO, F_GETFL);
  ::fcntl(STDOUT_FILENO, F_SETFL, flags_before_ | O_NONBLOCK);
  pending_ = kEnter;
  write_pending();
}

Terminal::~Terminal() {
  ::fcntl(STDOUT_FILENO, F_SETFL, flags_before_);
  pending_ = kLeave;
  write_pending();
  ::tcsetattr(STDIN_FILENO, TCSANOW, &before_);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGWINCH}) handle(signal, SIG_DFL);
}

Terminal::Size Terminal::size() {
  winsize window{};
  if (::ioctl(STDOUT_FILENO, TIOCGWINSZ, &window) != 0 || window.ws_row == 0 || window.ws_col == 0) return {};
  return {.lines = window.ws_row, .columns = window.ws_col};
}

void Terminal::write_pending() {
  while (!pending_.empty()) {
    const ssize_t written = ::write(STDOUT_FILENO, pending_.data(), pending_.size());
    if (written > 0) {
      pending_.erase(0, static_cast<std::size_t>(written));
    } else if (errno != EINTR) {
      if (errno != EAGAIN) ended = true;  // hung up
      return;
    }
  }
}

void Terminal::paint(const std::vector<std::string>& lines) {
  write_pending();
  if (!pending_.empty()) return;
  const Size now = size();
  if (now.lines != painted_.lines || now.columns != painted_.columns) {
    pending_ = "\x1b[2J";
    shown_.clear();
    painted_ = now;
  }
  std::vector<std::string> wanted(lines.begin(),
                                  lines.begin() + static_cast<std::ptrdiff_t>(std::min(lines.size(), now.lines)));
  for (std::size_t at = 0; at < std::max(wanted.size(), shown_.size()); ++at) {
    const std::string& line = at < wanted.size() ? wanted[at] : std::string();
    if (at < shown_.size() && shown_[at] == line) continue;
    if (at >= shown_.size() && line.empty()) continue;
    pending_ += "\x1b[" + std::to_string(at + 1) + ";1H" + line + "\x1b[0m\x1b[K";
  }
  shown_ = std::move(wanted);
  write_pending();
}

std::optional<char> Terminal::next_key(std::chrono::milliseconds wait) {
  const auto until = std::chrono::steady_clock::now() + wait;
  while (!ended) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - std::chrono::steady_clock::now());
    std::array<pollfd, 2> either{{{.fd = STDIN_FILENO, .events = POLLIN, .revents = 0},
                                  {.fd = pending_.empty() ? -1 : STDOUT_FILENO, .events = POLLOUT, .revents = 0}}};
    const int ready = ::poll(either.data(), either.size(), static_cast<int>(std::max<std::int64_t>(left.count(), 0)));
    if (ended) break;
    if (ready <= 0) return static_cast<char>(Key::none);
    if (either[1].revents != 0) {
      write_pending();
      if (either[0].revents == 0) continue;
    }
    std::array<char, 16> bytes{};
    const ssize_t got = ::read(STDIN_FILENO, bytes.data(), 1);
    if (got == 0 || (got < 0 && errno != EINTR)) return std::nullopt;
    if (got < 0) continue;
    if (bytes[0] != '\x1b') return bytes[0];
    // The rest of a sequence comes with it; after the key Escape alone nothing does.
    if (::poll(either.data(), 1, 0) <= 0) return static_cast<char>(Key::none);
    const ssize_t rest = ::read(STDIN_FILENO, bytes.data() + 1, bytes.size() - 1);
    return static_cast<char>(key_of({bytes.data(), 1 + static_cast<std::size_t>(std::max<ssize_t>(rest, 0))}));
  }
  return std::nullopt;
}

}  // namespace nimsync::tools
