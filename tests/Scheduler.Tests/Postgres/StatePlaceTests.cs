using Npgsql;
using Scheduler.Postgres.State;

namespace Scheduler.Tests.Postgres;

/// <summary>How the connections are set up beside what the connection string says.</summary>
public sealed class StatePlaceTests
{
    private const string Given = "Host=127.0.0.1;Database=shop;Username=scheduler";

    [Theory]
    [InlineData("", GssEncryptionMode.Disable)]
    [InlineData(";GSS Encryption Mode=Require", GssEncryptionMode.Require)]
    [InlineData(";GssEncryptionMode=Prefer", GssEncryptionMode.Prefer)]
    public void Kerberos_is_asked_for_only_where_the_connection_string_says_so(string more, GssEncryptionMode expected) =>
        Assert.All(Settings(Given + more, TimeSpan.FromSeconds(5)), settings => Assert.Equal(expected, settings.GssEncryptionMode));

    [Theory]
    [InlineData("", 5, 5)]
    [InlineData("", 60, 60)]
    [InlineData(";Timeout=3", 5, 3)]
    [InlineData(";Timeout=30", 5, 5)]
    [InlineData(";Timeout=0", 5, 1)]
    public void Connecting_takes_no_longer_than_the_limit_nor_than_the_connection_string_says(string more, int limit, int expected) =>
        Assert.All(Settings(Given + more, TimeSpan.FromSeconds(limit)), settings => Assert.Equal(expected, settings.Timeout));

    private static IEnumerable<NpgsqlConnectionStringBuilder> Settings(string given, TimeSpan limit)
    {
        var place = new StatePlace(given, "scheduler");
        using var source = place.CreateSource(limit, limit, pool: 1, ownSessions: true);
        using var listening = place.CreateListening(limit);
        using var session = place.CreateSession(limit, []);
        return
        [
            .. new[] { source.ConnectionString, listening.ConnectionString, session.ConnectionString }.Select(
                s => new NpgsqlConnectionStringBuilder(s)
            ),
        ];
    }
}
