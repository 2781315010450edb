using System.Globalization;
using Scheduler.Locking;

namespace Scheduler.Worker.Operations;

/// <summary>A request's query, read strictly: a mistyped name must not silently show everything.</summary>
internal sealed class Parameters
{
    public const int DefaultLimit = 100;
    public const int MaxLimit = 1_000;
    private const int MaxLength = 1_024;

    private readonly IQueryCollection _query;

    public Parameters(HttpContext context, params string[] known)
    {
        _query = context.Request.Query;
        foreach (var (name, values) in _query)
        {
            if (!known.Contains(name, StringComparer.Ordinal))
            {
                Errors[name] = [known.Length == 0 ? "is not known; there are none" : $"is not known; known: {string.Join(", ", known)}"];
            }
            else if (values.Count > 1 || values.ToString().Length > MaxLength)
            {
                Errors[name] = [$"must be given once, with at most {MaxLength} characters"];
            }
        }
    }

    /// <summary>What is wrong, by parameter.</summary>
    public Dictionary<string, string[]> Errors { get; } = new(StringComparer.Ordinal);

    public string? Text(string name) => _query[name] is [{ Length: > 0 } value] ? value : null;

    /// <summary>A name that a record must have; one that none can have is an error.</summary>
    public string? Name(string name)
    {
        if (!_query.ContainsKey(name))
        {
            return null;
        }
        if (_query[name] is [{ Length: > 0 } value] && !value.Any(char.IsControl))
        {
            return value;
        }
        Errors[name] = ["must be a name: not empty, without control characters; leave it out to see all"];
        return null;
    }

    /// <summary>A lock key.</summary>
    public LockKey? Key(string name)
    {
        if (!_query.ContainsKey(name))
        {
            return null;
        }
        var value = _query[name].ToString();
        if (LockKey.Problem(value) is { } problem)
        {
            Errors[name] = [problem];
            return null;
        }
        return LockKey.From(value);
    }

    /// <summary><c>from</c> and <c>to</c>: times from the one, which is in it, to the other, which is not.</summary>
    public (DateTimeOffset? From, DateTimeOffset? To) Range()
    {
        var (from, to) = (Time("from"), Time("to"));
        if (from >= to)
        {
            Errors["from"] = ["must be earlier than 'to'"];
        }
        return (from, to);
    }

    private DateTimeOffset? Time(string name)
    {
        if (!_query.ContainsKey(name))
        {
            return null;
        }
        if (
            DateTimeOffset.TryParseExact(
                _query[name].ToString(),
                "yyyy-MM-dd'T'HH:mm:ss.FFFFFFF'Z'",
                CultureInfo.InvariantCulture,
                DateTimeStyles.AssumeUniversal,
                out var time
            )
        )
        {
            return time;
        }
        Errors[name] = ["must be a time in UTC such as 2026-01-31T12:00:00Z"];
        return null;
    }

    /// <summary><c>true</c> or <c>false</c>; false when it is not given.</summary>
    public bool Flag(string name)
    {
        if (_query.ContainsKey(name) && _query[name].ToString() is not ("true" or "false"))
        {
            Errors[name] = ["must be true or false"];
        }
        return _query[name] == "true";
    }

    /// <summary>The number in <c>cursor</c> that a page before gave.</summary>
    public long? Number()
    {
        if (!_query.ContainsKey("cursor"))
        {
            return null;
        }
        if (long.TryParse(_query["cursor"], NumberStyles.None, CultureInfo.InvariantCulture, out var number) && number > 0)
        {
            return number;
        }
        Errors["cursor"] = ["must be the 'next' of the page before, unchanged"];
        return null;
    }

    public int Limit()
    {
        if (!_query.ContainsKey("limit"))
        {
            return DefaultLimit;
        }
        if (int.TryParse(_query["limit"], NumberStyles.None, CultureInfo.InvariantCulture, out var limit) && limit is >= 1 and <= MaxLimit)
        {
            return limit;
        }
        Errors["limit"] = [$"must be a whole number from 1 to {MaxLimit}"];
        return DefaultLimit;
    }

    public T? Word<T>(string name)
        where T : struct, Enum
    {
        if (!_query.ContainsKey(name))
        {
            return null;
        }
        var names = Enum.GetNames<T>();
        if (Array.Find(names, n => n.Equals(_query[name].ToString(), StringComparison.OrdinalIgnoreCase)) is { } found)
        {
            return Enum.Parse<T>(found);
        }
        Errors[name] = [$"must be one of {string.Join(", ", names.Select(n => char.ToLowerInvariant(n[0]) + n[1..]))}"];
        return null;
    }
}
