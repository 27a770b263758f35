#include "daemon/log.hpp"

#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/stdout_sinks.h>

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <utility>

namespace nimsync::registry {

namespace {

/// "<6>" and the like: what journald takes from the beginning of a line as its priority (sd-daemon(3)).
class Priority : public spdlog::custom_flag_formatter {
 public:
  void format(const spdlog::details::log_msg& message, const std::tm&, spdlog::memory_buf_t& out) override {
    out.push_back('<');
    out.push_back(digit(message.level));
    out.push_back('>');
  }
  [[nodiscard]] std::unique_ptr<spdlog::custom_flag_formatter> clone() const override {
    return std::make_unique<Priority>();
  }

 private:
  static char digit(spdlog::level::level_enum level) {
    switch (level) {
      case spdlog::level::critical:
        return '2';
      case spdlog::level::err:
        return '3';
      case spdlog::level::warn:
        return '4';
      case spdlog::level::info:
        return '6';
      default:
        return '7';
    }
  }
};

}  // namespace

void start_log(const std::string& level) {
  auto log = std::make_shared<spdlog::logger>("nimsyncd", std::make_shared<spdlog::sinks::stderr_sink_mt>());
  log->set_level(spdlog::level::from_str(level));
  log->flush_on(spdlog::level::trace);
  auto formatter = std::make_unique<spdlog::pattern_formatter>();
  if (std::getenv("JOURNAL_STREAM") != nullptr) {
    formatter->add_flag<Priority>('*').set_pattern("%*%v");
  } else {
    formatter->set_pattern("%Y-%m-%dT%H:%M:%S.%e %l %v");
  }
  log->set_formatter(std::move(formatter));
  spdlog::set_default_logger(std::move(log));
}

void set_log_level(const std::string& level) {
  spdlog::default_logger()->set_level(spdlog::level::from_str(level));
}

bool LineLimit::admits(Clock::time_point now) {
  const auto passed = std::max<Clock::rep>((now - counted_) / kEach, 0);
  counted_ += passed * kEach;
  lines_ = std::min<std::uint64_t>(kAtOnce, lines_ + static_cast<std::uint64_t>(passed));
  if (lines_ == 0) {
    ++left_out_;
    return false;
  }
  --lines_;
  return true;
}

std::string LineLimit::left_out() {
  const std::uint64_t lines = std::exchange(left_out_, 0);
  return lines == 0 ? "" : " left_out=" + std::to_string(lines);
}

}  // namespace nimsync::registry
