// How many lines clients can make the registry's log have.

#include "daemon/log.hpp"

#include <gtest/gtest.h>

namespace nimsync::registry {
namespace {

using namespace std::chrono_literals;

std::uint64_t admitted(LineLimit& limit, LineLimit::Clock::time_point now, std::uint64_t lines) {
  std::uint64_t count = 0;
  for (std::uint64_t n = 0; n < lines; ++n) count += limit.admits(now) ? 1U : 0U;
  return count;
}

TEST(LineLimit, LetsSomeThroughAtOnceAndSomeEachSecond) {
  LineLimit limit;
  LineLimit::Clock::time_point now{1h};
  EXPECT_EQ(admitted(limit, now, 1000), LineLimit::kAtOnce);
  EXPECT_EQ(admitted(limit, now + LineLimit::kEach / 2, 1000), 0U);
  std::uint64_t later = 0;
  for (int step = 1; step <= 100; ++step) later += admitted(limit, now + step * LineLimit::kEach / 10, 10);
  EXPECT_EQ(later, 10U) << "a tenth of an interval at a time adds up to no more";
  EXPECT_EQ(admitted(limit, now + 24h, 1000), LineLimit::kAtOnce) << "what wasn't used isn't saved without bound";
  EXPECT_EQ(admitted(limit, now, 1000), 0U);
}

TEST(LineLimit, TellsHowManyWereLeftOut) {
  LineLimit limit;
  const LineLimit::Clock::time_point now{1h};
  EXPECT_EQ(limit.left_out(), "");
  static_cast<void>(admitted(limit, now, LineLimit::kAtOnce + 7));
  EXPECT_EQ(limit.left_out(), " left_out=7");
  EXPECT_EQ(limit.left_out(), "");
}

}  // namespace
}  // namespace nimsync::registry
