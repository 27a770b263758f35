// The receiver of a stamped ring, whose every shared read is a fuzzer's: no access outside the segments, a bounded
// number of shared reads in a call, no status but the documented ones.
#include "tests/fuzz/victim.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace nimsync;
  using namespace nimsync::rings_test;
  static fuzz::Victim victim(Side::receiver, {stamped<Watched, 8>(), stamped<Watched, 12, kSizeAtRunTime>()});
  return victim.attack(data, size);
}
