// The kind of ring that mutants.cpp is about, and with it all of the product that is inline in its endpoints.
#include "tests/crash/channel.hpp"

namespace nimsync::crash_test {

Kind kind();

Kind kind() {
  return NIMSYNC_CRASH_KIND;
}

}  // namespace nimsync::crash_test
