#include "bench/workloads.hpp"

namespace bench {

const std::vector<Workload>& workloads() {
  static const std::vector<Workload> all{
      {"rtt", "a question and its answer", true, {8, 24, 56, 64, 256, 1024, 4096}, rtt_groups},
      {"throughput", "a stream of records, one call a message", true, {8, 56, 64, 256, 1024}, throughput_groups},
      {"batch", "a stream of records, 16 or 64 a call", false, {8, 64}, batch_groups},
      {"frames",
       "a stream of messages of any length, by ring size",
       true,
       {16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576},
       frames_groups},
      {"single-thread", "sending and receiving in turn in one thread", false, {8, 64}, single_thread_groups},
      {"blocking", "the stream by calls that wait, with the doorbell and without", false, {8, 64}, blocking_groups},
      {"wake", "a message for a sleeping receiver", false, {16}, wake_groups},
      {"wait-set",
       "a message for one of 10 or 10,000 channels that one thread sleeps on",
       false,
       {16},
       wait_set_groups},
  };
  return all;
}

}  // namespace bench
