using System.Reflection;
using Microsoft.Extensions.Logging;

namespace Scheduler.Tests.Architecture;

/// <summary>An event id says which message it is, whoever logs it: alerts and searches go by it.</summary>
public sealed class EventIdTests
{
    [Fact]
    public void No_two_messages_have_one_id()
    {
        var messages = Messages(Repository.Product).ToList();

        Assert.True(messages.Count > 100);
        Assert.Empty(Shared(messages));
    }

    [Fact]
    public void Two_that_share_one_are_found() => Assert.Equal(["1: A.One, B.Two"], Shared([(1, "A.One"), (2, "A.Three"), (1, "B.Two")]));

    private static IEnumerable<(int Id, string Name)> Messages(IEnumerable<Assembly> assemblies) =>
        from type in assemblies.SelectMany(a => a.GetTypes())
        from method in type.GetMethods(BindingFlags.Static | BindingFlags.Instance | BindingFlags.Public | BindingFlags.NonPublic)
        let message = method.GetCustomAttribute<LoggerMessageAttribute>()
        where message is not null && method.DeclaringType == type
        select (message.EventId, $"{type.FullName}.{method.Name}");

    private static IEnumerable<string> Shared(IEnumerable<(int Id, string Name)> messages) =>
        messages
            .GroupBy(m => m.Id)
            .Where(g => g.Count() > 1)
            .Select(g => $"{g.Key}: {string.Join(", ", g.Select(m => m.Name).Order(StringComparer.Ordinal))}");
}
