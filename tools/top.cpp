#include "tools/top.hpp"

#include <algorithm>
#include <cstdlib>
#include <ctime>
#include <nlohmann/json.hpp>
#include <ostream>
#include <sstream>
#include <thread>
#include <utility>

#include "tools/terminal.hpp"
#include "words/quantity.hpp"

namespace nimsync::tools {

namespace {

using Clock = Meter::Clock;

constexpr const char* kHelp = "keys: n name  s sent  r received  u used  f full  e empty  m memory  R reverse  q quit";

/// What is known, and how it is looked at.
class View {
 public:
  View(Place place, TopOptions options) : place_(std::move(place)), options_(std::move(options)) {}

  void look() {
    try {
      if (!registry_) registry_ = reach(place_);
      channels_ = meter_.measure(registry_->list(options_.pattern), Clock::now());
      info_ = registry_->info();
      trouble_.clear();
    } catch (const Error& error) {
      registry_.reset();
      trouble_ = error.what();
    }
    sort(channels_, options_.order, options_.reversed);
  }

  /// False: that was all.
  bool press(char key, std::size_t lines) {
    const std::size_t page = lines > kHead + 1 ? lines - kHead - 1 : 1;
    switch (key) {
      case 'q':
        return false;
      case 'R':
        options_.reversed = !options_.reversed;
        break;
      case static_cast<char>(Key::down):
        ++first_;
        break;
      case static_cast<char>(Key::up):
        first_ -= std::min<std::size_t>(first_, 1);
        break;
      case ' ':
      case static_cast<char>(Key::page_down):
        first_ += page;
        break;
      case static_cast<char>(Key::page_up):
        first_ -= std::min(first_, page);
        break;
      case static_cast<char>(Key::home):
        first_ = 0;
        break;
      case static_cast<char>(Key::end):
        first_ = channels_.size();
        break;
      default:
        for (const auto& each : kOrders) {
          if (each.key == key) options_.order = each.order;
        }
    }
    sort(channels_, options_.order, options_.reversed);
    return true;
  }

  [[nodiscard]] std::vector<std::string> picture(Terminal::Size size, Style style) {
    const std::size_t room = size.lines > kHead ? size.lines - kHead : 0;
    first_ = std::min(first_, channels_.size() > room ? channels_.size() - room : 0);
    std::vector<std::string> lines{cut(printable(headline()), size.columns),
                                   cut(trouble_.empty() ? kHelp : printable(trouble_), size.columns)};
    style.width = size.columns;
    style.header = true;
    const auto from = channels_.begin() + static_cast<std::ptrdiff_t>(first_);
    std::istringstream table(render(
        rate_table({from, from + static_cast<std::ptrdiff_t>(std::min(room, channels_.size() - first_))}), style));
    for (std::string line; std::getline(table, line);) lines.push_back(line);
    return lines;
  }

 private:
  static constexpr std::size_t kHead = 3;  // headline, help, the table's header

  [[nodiscard]] std::string headline() const {
    std::string order;
    for (const auto& each : kOrders) {
      if (each.order == options_.order) order = each.word;
    }
    return "by " + order + (options_.reversed ? " (reversed)" : "") + "  " + std::to_string(info_.channels) +
           " channels, " + words::format_size(info_.bytes) + " of " + words::format_size(info_.max_bytes) + "  " +
           std::to_string(info_.connections) + " connections  up " +
           words::format_age(static_cast<std::int64_t>(info_.uptime_s)) + "  " + info_.socket;
  }

  Place place_;
  TopOptions options_;
  std::optional<Registry> registry_;
  Meter meter_;
  std::vector<Measured> channels_;
  RegistryInfo info_;
  std::string trouble_;
  std::size_t first_ = 0;  // of the channels on the screen
};

int top_once(const Place& place, const TopOptions& options, const Output& output) {
  Registry registry = reach(place);
  Meter meter;
  static_cast<void>(meter.measure(registry.list(options.pattern), Clock::now()));
  std::this_thread::sleep_for(options.interval);
  auto channels = meter.measure(registry.list(options.pattern), Clock::now());
  sort(channels, options.order, options.reversed);
  if (output.json) {
    Json json = document();
    json["channels"] = json_of(channels);
    print(output, json);
  } else {
    output.out << render(rate_table(channels), output.style);
  }
  return 0;
}

}  // namespace

int top(const Place& place, const TopOptions& options, const Output& output) {
  if (options.once || output.json) return top_once(place, options, output);
  Terminal terminal;
  View view(place, options);
  auto next_look = Clock::now();
  for (;;) {
    if (Clock::now() >= next_look) {
      view.look();
      next_look = Clock::now() + options.interval;
    }
    terminal.paint(view.picture(Terminal::size(), output.style));
    const auto wait = std::chrono::ceil<std::chrono::milliseconds>(next_look - Clock::now());
    const auto key = terminal.next_key(std::max(wait, std::chrono::milliseconds(0)));
    if (!key || !view.press(*key, Terminal::size().lines)) return 0;
  }
}

int watch_rates(const Place& place, const WatchOptions& options, const Output& output) {
  Registry registry = reach(place);
  const auto look = [&] {
    if (options.names.empty()) return registry.list();
    std::vector<ChannelInfo> channels;
    for (const auto& name : options.names) channels.push_back(registry.stat(name));
    return channels;
  };
  Meter meter;
  static_cast<void>(meter.measure(look(), Clock::now()));
  for (std::uint64_t n = 0; !options.count || n < *options.count; ++n) {
    std::this_thread::sleep_for(options.interval);
    const auto channels = meter.measure(look(), Clock::now());
    if (output.json) {
      Json json = document();
      json["time"] = std::time(nullptr);
      json["channels"] = json_of(channels);
      print_line(output, json);
    } else {
      if (n != 0) output.out << "\n";
      output.out << render(rate_table(channels), output.style) << std::flush;
    }
    if (!output.out) break;
  }
  return 0;
}

}  // namespace nimsync::tools
