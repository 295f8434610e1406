#ifndef COMMON_PROTO_H_
#define COMMON_PROTO_H_

// The generated messages under the short name v1 inside our namespace.
namespace apim_failover::v1 {}
namespace failover {
namespace v1 = ::apim_failover::v1;
}

#endif  // COMMON_PROTO_H_
