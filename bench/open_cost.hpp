// What it costs to open a channel, beside the least that any request to another process costs.
//
// The workload `open`: a client on one processor, the registry and a server that does nothing but echo JSON on the
// other. A sample is the median of a number of openings between two samples of the bare round trip; it is kept when
// those two agree within a quarter.
#pragma once

#include <cstddef>

#include "bench/campaign.hpp"
#include "bench/private_registry.hpp"
#include "bench/results.hpp"

namespace bench {

/// Bytes of the records of the channels that are opened.
inline constexpr std::size_t kOpenSize = 8;

/// Throws std::runtime_error when a process died or hung; Interrupted on a signal.
Table measure_open(PrivateRegistry& registry, const CampaignOptions& options, const Progress& progress);

}  // namespace bench
