// Calls that are bugs of the caller, with assertions off, as most programs are shipped. This program is built so
// whatever the others are.
#include <gtest/gtest.h>

#include "tests/rings/conformance_checks.hpp"

namespace nimsync::rings_test {
namespace {

TEST(Misuse, HarmsNothingButTheCallersMessages) {
  for (const std::uint64_t capacity : {2U, 8U}) {
    EXPECT_NO_THROW(check_misuse(stamped<Native, 8>(), capacity));
    EXPECT_NO_THROW(check_misuse(dense<Native, 8>(), capacity));
  }
  EXPECT_NO_THROW(check_misuse(framed<Native>(), page()));
}

}  // namespace
}  // namespace nimsync::rings_test
