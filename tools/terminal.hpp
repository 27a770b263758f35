// A terminal that is repainted and whose keys are read one by one.
//
// Only lines that changed are written, and nothing while the terminal hasn't taken what was written before: a slow line
// gets fewer pictures, not older ones. One thread, and one such object a process.
#pragma once

#include <termios.h>

#include <chrono>
#include <cstddef>
#include <optional>
#include <string>
#include <vector>

namespace nimsync::tools {

enum class Key : unsigned char { none = 0, up = 1, down = 2, page_up = 3, page_down = 4, home = 5, end = 6 };

class Terminal {
 public:
  /// Takes the terminal that standard input and output are: other screen, no echo, keys at once. Error `invalid` when
  /// they are none.
  Terminal();
  Terminal(const Terminal&) = delete;
  Terminal& operator=(const Terminal&) = delete;
  /// As it was. Also on SIGINT, SIGTERM and SIGHUP, which end next_key() with its nothing.
  ~Terminal();

  struct Size {
    std::size_t lines = 24;
    std::size_t columns = 80;
  };
  [[nodiscard]] static Size size();

  /// Lines without newlines; what is beyond the screen is left out.
  void paint(const std::vector<std::string>& lines);

  /// Waits for a key: its character or one of Key, Key::none when the time is over or the size changed, and nothing
  /// when the program is to end.
  [[nodiscard]] std::optional<char> next_key(std::chrono::milliseconds wait);

 private:
  void write_pending();

  termios before_{};
  int flags_before_ = 0;
  std::string pending_;  // of the last picture
  std::vector<std::string> shown_;
  Size painted_{};
};

}  // namespace nimsync::tools
