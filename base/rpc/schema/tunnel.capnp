# What a connector and the edge say to each other.
#
# On the wire only the interface ids, the ordinals and the types matter: they are the connector protocol's and cannot
# change. Names are ours. How to generate the Rust code: src/lib.rs.

@0xb1f7a3c6d2e94510;

struct TunnelAuth {
  accountTag @0 :Text;
  tunnelSecret @1 :Data;
}

struct ClientInfo {
  clientId @0 :Data;         # 16 bytes: the connector's UUID
  features @1 :List(Text);
  version @2 :Text;
  arch @3 :Text;             # such as linux_amd64
}

struct ConnectionOptions {
  client @0 :ClientInfo;
  originLocalIp @1 :Data;    # 16 bytes, IPv4 in mapped form
  replaceExisting @2 :Bool;
  compressionQuality @3 :UInt8;
  numPreviousAttempts @4 :UInt8;
}

struct ConnectionError {
  cause @0 :Text;
  retryAfter @1 :Int64;      # nanoseconds
  shouldRetry @2 :Bool;
}

struct ConnectionDetails {
  uuid @0 :Data;             # 16 bytes
  locationName @1 :Text;
  tunnelIsRemotelyManaged @2 :Bool;
}

struct ConnectionResponse {
  result :union {
    error @0 :ConnectionError;
    connectionDetails @1 :ConnectionDetails;
  }
}

# Served by the edge on the control stream.
interface RegistrationServer @0xf71695ec7fe85497 {
  registerConnection @0 (auth :TunnelAuth, tunnelId :Data, connIndex :UInt8, options :ConnectionOptions)
      -> (result :ConnectionResponse);
  unregisterConnection @1 () -> ();
  updateLocalConfiguration @2 (config :Data) -> ();
}

struct UpdateConfigurationResponse {
  latestAppliedVersion @0 :Int32;
  err @1 :Text;
}

# Served by the connector, on a stream of its own for each call.
interface ConfigurationManager @0xb48edfbdaa25db04 {
  updateConfiguration @0 (version :Int32, config :Data) -> (result :UpdateConfigurationResponse);
}

struct RegisterUdpSessionResponse {
  err @0 :Text;
  spans @1 :Data;            # trace spans, only if asked
}

# Served by the connector to begin and end a UDP session, and by the edge to hear of its end; a stream for each call.
interface SessionManager @0x839445a59fb01686 {
  registerUdpSession @0 (sessionId :Data, dstIp :Data, dstPort :UInt16, closeAfterIdleHint :Int64,
      traceContext :Text = "") -> (result :RegisterUdpSessionResponse);
  unregisterUdpSession @1 (sessionId :Data, message :Text) -> ();
}

# All that the connector serves.
interface ConnectorServer @0xf548cef9dea2a4a1 extends(SessionManager, ConfigurationManager) {
}

# The head of a data stream, edge to connector.
struct ConnectRequest {
  dest @0 :Text;
  type @1 :ConnectionType;
  metadata @2 :List(Metadata);
}

enum ConnectionType {
  http @0;
  websocket @1;
  tcp @2;
}

struct Metadata {
  key @0 :Text;
  val @1 :Text;
}

# The head of a data stream, connector to edge.
struct ConnectResponse {
  error @0 :Text;
  metadata @1 :List(Metadata);
}
