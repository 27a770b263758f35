// The peers: everyone else that carries records or messages between two processes or threads.
//
// Whose package wasn't there when the bench was built is left out by name.
#pragma once

#include <sys/socket.h>

#include <algorithm>
#include <boost/lockfree/spsc_queue.hpp>
#include <cstddef>
#include <memory>
#include <string>

#include "bench/links/boost.hpp"
#include "bench/links/kernel.hpp"
#include "bench/links/queues.hpp"
#include "bench/workload.hpp"

#if NIMSYNC_BENCH_ZEROMQ
#include "bench/links/zeromq.hpp"
#endif
#if NIMSYNC_BENCH_ICEORYX
#include "bench/links/iceoryx.hpp"
#endif

namespace bench {

/// What Unix sockets' buffers are made for, and queues of messages hold at least.
inline constexpr std::size_t kSocketBytes = std::size_t{4} << 20;

/// Peers that can be fed records and messages alike, of `bytes` each: all but the queues of fixed records.
template <template <class> class Made>
void add_message_peers(Group& group, const Place& place, const std::string& prefix, std::size_t bytes,
                       Blocking blocking = Blocking::no) {
  Nature kernel = kInKernel;
  kernel.waits = blocking == Blocking::yes;
  if (kernel.waits) kernel.warm_up = 1;
  Nature waiting = kWaiting;
  waiting.warm_up = std::min(kernel.warm_up, waiting.warm_up);
  constexpr std::size_t kMessages = 64;
  add<Made>(group, kBoostMessageQueue, Kind::peer, kernel, [&](const std::string& part) {
    return std::make_unique<BoostMessageQueueLink>(prefix + "bmq-" + part, kMessages, bytes);
  });
  add<Made>(group, kPipe, Kind::peer, kernel,
            [&](const std::string&) { return std::make_unique<DescriptorLink>(Descriptors::pipe(blocking), bytes); });
  add<Made>(group, kStreamSocket, Kind::peer, kernel, [&](const std::string&) {
    return std::make_unique<DescriptorLink>(Descriptors::sockets(SOCK_STREAM, blocking, kSocketBytes), bytes);
  });
  add<Made>(group, kSeqpacket, Kind::peer, kernel, [&](const std::string&) {
    return std::make_unique<DescriptorLink>(Descriptors::sockets(SOCK_SEQPACKET, blocking, kSocketBytes), bytes);
  });
  add<Made>(group, kPosixQueue, Kind::peer, kernel,
            [&](const std::string& part) { return std::make_unique<PosixQueueLink>(prefix + part, blocking, bytes); });
#if NIMSYNC_BENCH_ZEROMQ
  add<Made>(group, kZeroMq, Kind::peer, waiting, [&](const std::string& part) {
    return std::make_unique<ZeroMqLink>(place.folder + "/zmq-" + prefix + part, bytes);
  });
#else
  group.left_out.push_back({kZeroMq, "built without libzmq3-dev"});
#endif
}

/// iceoryx, which doesn't block.
template <template <class> class Made>
void add_iceoryx(Group& group, const Place& place, const std::string& prefix, std::size_t bytes) {
#if NIMSYNC_BENCH_ICEORYX
  if (!place.no_iceoryx.empty()) {
    group.left_out.push_back({kIceoryx, place.no_iceoryx});
    return;
  }
  Nature nature = kInKernel;
  nature.waits = true;  // it has threads
  add<Made>(group, kIceoryx, Kind::peer, nature,
            [&](const std::string& part) { return std::make_unique<IceoryxLink>(prefix + part, bytes); });
#else
  static_cast<void>(place), static_cast<void>(prefix), static_cast<void>(bytes);
  group.left_out.push_back({kIceoryx, "built without libiceoryx-posh-dev"});
#endif
}

template <std::size_t Size, std::size_t Capacity>
using FixedQueue = boost::lockfree::spsc_queue<Record<Size>, boost::lockfree::capacity<Capacity>>;

template <class Queue>
struct MakeQueue {
  std::unique_ptr<Queue> operator()() const { return std::make_unique<Queue>(); }
};

/// Boost's queue between processes: the first of the peers, and what ratios are taken to.
template <template <class> class Made, std::size_t Size, std::size_t Capacity>
void add_boost(Group& group, const std::string& prefix) {
  add<Made>(group, kBoost, Kind::peer, kInMemory,
            [&](const std::string& part) { return std::make_unique<BoostLink<Size, Capacity>>(prefix + part); });
}

/// All peers for records.
template <template <class> class Made, std::size_t Size, std::size_t Capacity>
void add_record_peers(Group& group, const Place& place, const std::string& prefix) {
  add_boost<Made, Size, Capacity>(group, prefix);
  using Boost = FixedQueue<Size, Capacity>;
  add<Made>(group, kBoostThreads, Kind::peer, kInOneProcess,
            [](const std::string&) { return std::make_unique<QueueLink<Size, Boost, MakeQueue<Boost>>>(); });
#if NIMSYNC_BENCH_READERWRITERQUEUE
  using Moody = ReaderWriter<Size, Capacity>;
  add<Made>(group, kReaderWriter, Kind::peer, kInOneProcess,
            [](const std::string&) { return std::make_unique<QueueLink<Size, Moody, MakeQueue<Moody>>>(); });
#else
  group.left_out.push_back({kReaderWriter, "built without libreaderwriterqueue-dev"});
#endif
  add_message_peers<Made>(group, place, prefix, Size);
  add_iceoryx<Made>(group, place, prefix, Size);
}

}  // namespace bench
